/* SPDX-License-Identifier: MIT */
/*
 * The scheduler under real threads: units send each other mail, wake the receiver, block when they
 * have none, yield, change each other's pins and weights, and in the end are all stopped. Checked:
 * a unit is on one pCPU at a time and its private data follow it (the sanitizer's view), no wake
 * is lost (conservation of mail: a lost one hangs the run), each stop is reported once, and the
 * runstates sum up exactly.
 */
#include "core/host/host.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <xen/xen.h>
#include <xen/vcpu.h>

#define CPUS 4
#define UNITS 14
#define QUOTA 3000

struct worker {
	struct sched_unit u;
	_Atomic int on_cpu;
	_Atomic uint64_t mail;
	_Atomic bool params_lock; /* sched_set_params() has one caller at a time */
	/* Plain: only the unit itself touches them, wherever it runs. */
	uint64_t eaten;
	unsigned sent;
	unsigned rng;
	unsigned stops;
};

static struct {
	struct worker w[UNITS];
	_Atomic uint64_t sent, eaten, doubles, torn;
	_Atomic unsigned stopped;
	_Atomic bool stopping, done;
	uint64_t start_ns;
} st;

static unsigned draw(struct worker *w)
{
	w->rng = w->rng * 1664525u + 1013904223u;
	return w->rng >> 8;
}

static void on_stopped(struct sched_unit *u)
{
	struct worker *w = container_of(u, struct worker, u);

	w->stops++;
	if (atomic_load(&w->on_cpu) != -1)
		atomic_fetch_add(&st.doubles, 1);
	if (atomic_fetch_add(&st.stopped, 1) + 1 < UNITS)
		return;
	atomic_store(&st.done, true);
	for (unsigned i = 0; i < CPUS; i++)
		arch_kick(i);
}

/* Anybody's runstate, from here: its times must sum up to the present. */
static void check_runstate(struct worker *w)
{
	uint64_t now = arch_now_ns();
	struct sched_runstate rs = sched_runstate(&w->u, now);
	uint64_t sum = rs.time[0] + rs.time[1] + rs.time[2] + rs.time[3];

	if (sum != MAX(now, rs.entry_ns) - st.start_ns)
		atomic_fetch_add(&st.torn, 1);
}

static void change_params(struct worker *me, struct worker *other)
{
	struct sched_params sp = {.weight = 1 + draw(me) % 2000, .warp_us = draw(me) % 3 * 500};

	if (atomic_exchange(&other->params_lock, true))
		return;
	if (draw(me) % 2)
		for (unsigned c = 0; c < CPUS; c++)
			if (draw(me) % 2)
				cpumask_set(&sp.pin, c);
	sched_set_params(&other->u, &sp);
	atomic_store(&other->params_lock, false);
}

static void eat(struct worker *w)
{
	uint64_t n = atomic_exchange(&w->mail, 0);

	w->eaten += n;
	if (atomic_fetch_add(&st.eaten, n) + n != (uint64_t)UNITS * QUOTA ||
	    atomic_exchange(&st.stopping, true))
		return;
	for (unsigned i = 0; i < UNITS; i++)
		sched_unit_stop(&st.w[i].u, on_stopped);
}

/* What a unit does between two visits of the exit path. */
static void guest(struct worker *w)
{
	for (unsigned i = draw(w) % 8; i && w->sent < QUOTA; i--) {
		struct worker *to = &st.w[draw(w) % UNITS];

		w->sent++;
		atomic_fetch_add(&st.sent, 1);
		atomic_fetch_add(&to->mail, 1);
		sched_wake(&to->u);
	}
	eat(w);
	switch (draw(w) % 16) {
	case 0:
		change_params(w, &st.w[draw(w) % UNITS]);
		break;
	case 4:
	case 5:
		check_runstate(&st.w[draw(w) % UNITS]);
		break;
	case 1:
		sched_yield_current();
		break;
	case 2:
	case 3:
		for (unsigned i = draw(w) % 2000; i; i--)
			cpu_relax();
		break;
	default:
		break;
	}
	if (w->sent == QUOTA || draw(w) % 4 == 0) {
		if (atomic_load(&w->mail) == 0)
			if (sched_block_current() && w->sent < QUOTA)
				sched_wake(&w->u); /* it has work of its own left */
	}
}

static void switch_to(struct worker **loaded, struct worker *next)
{
	if (*loaded == next)
		return;
	if (*loaded)
		atomic_store(&(*loaded)->on_cpu, -1);
	*loaded = next;
	if (next && atomic_exchange(&next->on_cpu, (int)this_pcpu()->id) != -1)
		atomic_fetch_add(&st.doubles, 1);
}

static void pcpu_main(void *arg)
{
	struct pcpu *p = this_pcpu();
	struct worker *loaded = NULL;

	(void)arg;
	while (!atomic_load(&st.done)) {
		struct sched_unit *u;

		p->work = 0;
		inbox_drain();
		timers_run(arch_now_ns());
		rcu_quiescent_state();
		rcu_poll();
		u = sched_pick(arch_now_ns());
		switch_to(&loaded, u ? container_of(u, struct worker, u) : NULL);
		if (p->work || inbox_pending(&p->inbox))
			continue;
		if (loaded) {
			guest(loaded);
			continue;
		}
		rcu_thread_offline();
		arch_idle();
		rcu_thread_online();
	}
}

static void start_all(void *arg)
{
	/* Each pCPU starts its part, wherever that is placed. */
	for (unsigned i = this_pcpu()->id; i < UNITS; i += CPUS)
		sched_unit_start(&st.w[i].u);
	pcpu_main(arg);
}

Test(sched_stress, mail_is_conserved, .timeout = 240)
{
	unsigned seed = (unsigned)time(NULL);
	uint64_t eaten = 0, migrations = 0;

	fprintf(stderr, "seed %u\n", seed);
	host_clock_virtual(false);
	sched_set_allowance(20 * NS_PER_US);
	st.start_ns = arch_now_ns();
	for (unsigned i = 0; i < UNITS; i++) {
		struct worker *w = &st.w[i];

		sched_unit_init(&w->u, &(struct sched_params){.weight = 100 + 50 * i}, st.start_ns);
		atomic_store(&w->on_cpu, -1);
		w->rng = seed + i * 7919;
	}
	host_threads_start(CPUS, start_all, NULL);
	host_threads_join();

	cr_expect_eq(atomic_load(&st.doubles), 0, "a unit was on two pCPUs");
	cr_expect_eq(atomic_load(&st.torn), 0, "%lu runstates were torn", atomic_load(&st.torn));
	cr_expect_eq(atomic_load(&st.sent), (uint64_t)UNITS * QUOTA);
	for (unsigned i = 0; i < UNITS; i++) {
		struct worker *w = &st.w[i];
		struct sched_runstate *rs = &w->u.rs;

		eaten += w->eaten;
		migrations += w->u.nr_migrations;
		cr_expect_eq(w->stops, 1);
		cr_expect_eq(rs->state, RUNSTATE_offline);
		cr_expect_eq(rs->time[0] + rs->time[1] + rs->time[2] + rs->time[3],
			     rs->entry_ns - st.start_ns);
		cr_expect_eq(rs->time[RUNSTATE_running], sched_cpu_ns(&w->u));
	}
	cr_expect_eq(eaten, (uint64_t)UNITS * QUOTA);
	cr_expect_gt(migrations, 0, "nothing ever moved: the stress is too tame");
	for (unsigned i = 0; i < CPUS; i++) {
		cr_expect_eq(pcpu_get(i)->sched.nr, 0);
		cr_expect_eq(pcpu_get(i)->sched.weight, 0);
		cr_expect_eq(atomic_load(&pcpu_get(i)->load.inbound), 0);
	}
}
