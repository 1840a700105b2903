/* SPDX-License-Identifier: MIT */
/*
 * A small world for event-channel tests: real domains over the host's memory, and the guest's side
 * of both ABIs, written from the published design (xen/event_channel.h), not from our sender.
 */
#ifndef TEST_EVTCHN_H
#define TEST_EVTCHN_H

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/domain.h"
#include "core/evtchn_internal.h"
#include "core/host/host.h"
#include "core/hypercall.h"
#include "tests/seed.h"

#define WORLD_FRAMES 16384UL

static inline uint32_t rnd(uint64_t *s)
{
	return (uint32_t)seed_next(s);
}

/* Memory for frames; call on a pCPU. */
static inline void world_memory(void)
{
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, WORLD_FRAMES << PAGE_SHIFT};

	cr_assert_eq(frames_init(&r, 1), 0);
	domains_init();
}

/* One thread plays @cpus pCPUs. */
static inline void world_sim(unsigned cpus)
{
	host_arena_init(WORLD_FRAMES);
	host_sim_init(cpus);
	world_memory();
}

/* All pCPUs of the simulation handle what they were sent. */
static inline void world_settle(void)
{
	unsigned self = this_pcpu()->id;

	for (unsigned i = 0; i < nr_pcpus(); i++) {
		host_become(i);
		host_service();
		this_pcpu()->work = 0;
	}
	host_become(self);
}

/* A started domain, found by domain_by_id(), whose vCPUs count as up. */
static inline struct domain *new_domain(unsigned vcpus)
{
	static _Atomic unsigned count;
	char name[16];
	struct domain_params p = {.name = name,
				  .kind = "test",
				  .vcpus = vcpus,
				  .nr_pages = 512,
				  .sched = {.weight = 256}};
	struct domain *d;

	snprintf(name, sizeof(name), "d%u", atomic_fetch_add(&count, 1));
	cr_assert_eq(domain_create(&d, &p), 0);
	cr_assert_eq(mm_populate(&d->mm, GFN(0), 512), 512);
	domain_start(d);
	for (unsigned i = 0; i < vcpus; i++) {
		atomic_store(&d->vcpu[i]->is_up, true);
		d->vcpu[i]->info->evtchn_upcall_mask = 0;
	}
	return d;
}

static inline void *guest_page(struct domain *d, uint64_t gfn)
{
	return arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(gfn)));
}

/* ---- the guest's side of the 2-level ABI ---- */

static inline bool g2_pending(struct domain *d, evtchn_port_t p)
{
	return __atomic_load_n(&d->shared->evtchn_pending[p / 64], __ATOMIC_SEQ_CST) >> p % 64 & 1;
}

static inline void g2_clear(struct domain *d, evtchn_port_t p)
{
	__atomic_fetch_and(&d->shared->evtchn_pending[p / 64], ~(1UL << p % 64), __ATOMIC_SEQ_CST);
}

static inline void g2_mask(struct domain *d, evtchn_port_t p)
{
	__atomic_fetch_or(&d->shared->evtchn_mask[p / 64], 1UL << p % 64, __ATOMIC_SEQ_CST);
}

/* Take the upcall as a guest does: flag, selector, words. Calls @fn for each port. */
static inline unsigned g2_upcall(struct vcpu *v, void (*fn)(struct vcpu *v, evtchn_port_t port))
{
	vcpu_info_t *vi = atomic_load(&v->info);
	struct domain *d = v->domain;
	unsigned n = 0;

	while (__atomic_exchange_n(&vi->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST)) {
		unsigned long sel =
			__atomic_exchange_n(&vi->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);

		for (; sel; sel &= sel - 1) {
			unsigned w = __builtin_ctzl(sel);
			unsigned long bits =
				__atomic_load_n(&d->shared->evtchn_pending[w], __ATOMIC_SEQ_CST) &
				~__atomic_load_n(&d->shared->evtchn_mask[w], __ATOMIC_SEQ_CST);

			for (; bits; bits &= bits - 1) {
				evtchn_port_t p = w * 64 + __builtin_ctzl(bits);

				g2_clear(d, p);
				if (fn)
					fn(v, p);
				n++;
			}
		}
	}
	return n;
}

/* ---- the guest's side of the FIFO ABI ---- */

struct gfifo {
	struct vcpu *v;
	evtchn_fifo_control_block_t *cb;
	uint32_t head[EVTCHN_FIFO_MAX_QUEUES];
};

#define GFIFO_CB_GFN 100
#define GFIFO_ARRAY_GFN 300

static inline event_word_t *gf_word(struct domain *d, evtchn_port_t p)
{
	return (event_word_t *)guest_page(d, GFIFO_ARRAY_GFN + p / 1024) + p % 1024;
}

static inline uint32_t gf_load(struct domain *d, evtchn_port_t p)
{
	return __atomic_load_n(gf_word(d, p), __ATOMIC_SEQ_CST);
}

static inline void gf_mask(struct domain *d, evtchn_port_t p)
{
	__atomic_fetch_or(gf_word(d, p), 1u << EVTCHN_FIFO_MASKED, __ATOMIC_SEQ_CST);
}

static inline int gf_init(struct gfifo *g, struct vcpu *v)
{
	struct evtchn_init_control ic = {.control_gfn = GFIFO_CB_GFN + v->id, .vcpu = v->id};
	int rc = evtchn_fifo_init_control(v->domain, &ic);

	*g = (struct gfifo){.v = v, .cb = guest_page(v->domain, GFIFO_CB_GFN + v->id)};
	return rc;
}

/* Unlink the port at the head; returns it, or 0 when the queue turned out to be empty. */
static inline evtchn_port_t gf_take(struct gfifo *g, unsigned prio)
{
	const uint32_t linked = 1u << EVTCHN_FIFO_LINKED;
	evtchn_port_t p = g->head[prio];
	event_word_t *word;
	uint32_t w;

	if (!p)
		p = __atomic_load_n(&g->cb->head[prio], __ATOMIC_ACQUIRE);
	if (!p)
		return 0;
	word = gf_word(g->v->domain, p);
	w = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	while (!__atomic_compare_exchange_n(word, &w, w & ~(linked | EVTCHN_FIFO_LINK_MASK), false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	g->head[prio] = w & EVTCHN_FIFO_LINK_MASK;
	return p;
}

/* Clear PENDING; true when the port is pending and not masked, that is, to be handled. */
static inline bool gf_ack(struct domain *d, evtchn_port_t p)
{
	uint32_t w = gf_load(d, p);

	if (!(w >> EVTCHN_FIFO_PENDING & 1) || w >> EVTCHN_FIFO_MASKED & 1)
		return false;
	__atomic_fetch_and(gf_word(d, p), ~(1u << EVTCHN_FIFO_PENDING), __ATOMIC_SEQ_CST);
	return true;
}

/* Take the upcall: all queues by priority. Calls @fn for each port to be handled. */
static inline unsigned gf_upcall(struct gfifo *g, void (*fn)(struct vcpu *v, evtchn_port_t port))
{
	vcpu_info_t *vi = atomic_load(&g->v->info);
	unsigned n = 0;
	uint32_t ready;

	while (__atomic_exchange_n(&vi->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST)) {
		ready = __atomic_exchange_n(&g->cb->ready, 0, __ATOMIC_SEQ_CST);
		while (ready) {
			unsigned prio = __builtin_ctz(ready);
			evtchn_port_t p = gf_take(g, prio);

			if (!g->head[prio])
				ready &= ~(1u << prio);
			if (p && gf_ack(g->v->domain, p)) {
				n++;
				if (fn)
					fn(g->v, p);
			}
			ready |= __atomic_exchange_n(&g->cb->ready, 0, __ATOMIC_SEQ_CST);
		}
	}
	return n;
}

/* ---- threads ---- */

static timer_t stumble_timer;

static inline void next_stumble(void)
{
	struct itimerspec in = {.it_value.tv_nsec = 200000};

	timer_settime(stumble_timer, 0, &in, NULL);
}

static inline void stumble(int sig)
{
	struct timespec t = {.tv_nsec = 20000};

	(void)sig;
	nanosleep(&t, NULL);
	next_stumble();
}

/*
 * Run @threads pCPUs, each a thread in @fn. A signal stops one of them for a moment, at any
 * instruction, again and again: on few processors, races would hardly ever meet without.
 */
static inline void run_shaken(unsigned threads, void (*fn)(void *arg))
{
	struct sigaction sa = {.sa_handler = stumble, .sa_flags = SA_RESTART};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	sigset_t alarm_set;

	sigemptyset(&alarm_set);
	sigaddset(&alarm_set, SIGALRM);
	sigaction(SIGALRM, &sa, NULL);
	cr_assert_eq(timer_create(CLOCK_MONOTONIC, &ev, &stumble_timer), 0);
	host_arena_init(WORLD_FRAMES);
	host_threads_start(threads, fn, NULL);
	pthread_sigmask(SIG_BLOCK, &alarm_set, NULL);
	next_stumble();
	host_threads_join();
	timer_delete(stumble_timer);
}

/* ---- kicks ---- */

/* Let @v look as if it ran on pCPU @cpu. */
static inline void pretend_running(struct vcpu *v, unsigned cpu)
{
	atomic_store(&v->unit.home, cpu);
	atomic_store(&v->unit.state, US_RUNNING);
}

static inline uint64_t kicks(unsigned cpu)
{
	return atomic_load(&pcpu_get(cpu)->arch.kicks);
}

#endif
