/* SPDX-License-Identifier: MIT */
/* RCU: the same tests over percpu/qsbr.c (the one of bare metal) and urcu-qsbr. */
#include "core/host/host.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdlib.h>

#define ALIVE 0x600df00du
#define DEAD 0xdeadbeefu

struct object {
	struct rcu_head rcu;
	_Atomic uint32_t state; /* atomic: the tests look at it even where that would be a bug */
	unsigned serial;	/* plain: a sanitizer sees use after free or a missing edge */
};

static unsigned freed;

static void free_object(struct rcu_head *head)
{
	struct object *o = container_of(head, struct object, rcu);

	atomic_store(&o->state, DEAD);
	freed++;
}

/* A grace period that nobody waits for: what the tests must notice. */
static void broken_call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *))
{
	fn(head);
}

typedef void call_rcu_fn(struct rcu_head *, void (*)(struct rcu_head *));

/* ---- one thread, every step chosen ---- */

static void poll_on(unsigned cpu, unsigned times)
{
	host_become(cpu);
	for (unsigned i = 0; i < times; i++)
		rcu_poll();
}

/* pCPU 1 holds a reference while pCPU 0 frees. True when it is dead under the reader's hands. */
static bool reader_is_hurt(call_rcu_fn *call)
{
	static struct object o;

	host_sim_init(3);
	atomic_store(&o.state, ALIVE);
	host_become(0);
	call(&o.rcu, free_object);
	for (unsigned i = 0; i < 20; i++) {
		poll_on(0, 3);
		/* pCPU 2 comes and goes; pCPU 1 stays in its section. */
		host_become(2);
		rcu_thread_offline();
		rcu_thread_online();
		rcu_quiescent_state();
	}
	return atomic_load(&o.state) != ALIVE;
}

Test(percpu_rcu, callback_waits_for_reader)
{
	cr_expect_not(reader_is_hurt(call_rcu));
	cr_expect_eq(freed, 0);
	host_become(1);
	rcu_quiescent_state();
	poll_on(0, 1);
	cr_expect_eq(freed, 1);
}

Test(percpu_rcu, callback_before_grace_period_is_caught)
{
	cr_expect(reader_is_hurt(broken_call_rcu));
}

/* A snapshot taken too late, after the reader has moved on, must not be needed either way. */
Test(percpu_rcu, offline_readers_are_not_waited_for)
{
	static struct object o;

	host_sim_init(3);
	for (unsigned i = 1; i < 3; i++) {
		host_become(i);
		rcu_thread_offline();
	}
	host_become(0);
	call_rcu(&o.rcu, free_object);
	poll_on(0, 1);
	cr_expect_eq(freed, 1, "all others are offline: one look is enough");
}

/* Going offline and online again is a quiescent state even if nobody looked in between. */
Test(percpu_rcu, offline_in_between_counts)
{
	static struct object o;

	host_sim_init(2);
	call_rcu(&o.rcu, free_object);
	poll_on(0, 1);
	cr_expect_eq(freed, 0);
	host_become(1);
	rcu_thread_offline();
	rcu_thread_online();
	poll_on(0, 1);
	cr_expect_eq(freed, 1);
}

/* A callback queued while a grace period runs is not covered by it. */
Test(percpu_rcu, later_callbacks_wait_for_their_own_period)
{
	static struct object a, b;

	host_sim_init(2);
	call_rcu(&a.rcu, free_object);
	poll_on(0, 1);
	host_become(1);
	rcu_quiescent_state(); /* and takes a reference to b here */
	host_become(0);
	call_rcu(&b.rcu, free_object);
	poll_on(0, 3);
	cr_expect_eq(freed, 1);
	host_become(1);
	rcu_quiescent_state();
	poll_on(0, 1);
	cr_expect_eq(freed, 2);
	host_become(0);
	cr_expect_not(rcu_pending());
}

static unsigned order[100], order_len;

static void note_order(struct rcu_head *head)
{
	order[order_len++] = container_of(head, struct object, rcu)->serial;
}

Test(percpu_rcu, callbacks_run_in_order_once)
{
	static struct object o[100];

	host_sim_init(2);
	for (unsigned i = 0; i < 100; i++) {
		o[i].serial = i;
		call_rcu(&o[i].rcu, note_order);
		if (i % 7 == 0)
			poll_on(0, 1);
		if (i % 11 == 0) {
			host_become(1);
			rcu_quiescent_state();
			host_become(0);
		}
	}
	host_sim_rcu_drain();
	cr_assert_eq(order_len, 100);
	for (unsigned i = 0; i < 100; i++)
		cr_expect_eq(order[i], i);
}

static struct object again_obj;

static void again(struct rcu_head *head)
{
	if (++freed < 5)
		call_rcu(head, again);
}

Test(percpu_rcu, callbacks_may_queue_more)
{
	host_sim_init(1);
	call_rcu(&again_obj.rcu, again);
	host_sim_rcu_drain();
	cr_expect_eq(freed, 5);
}

/* While a grace period is open the pCPU gets a timer to look again. */
Test(percpu_rcu, poll_timer)
{
	static struct object o;

	host_sim_init(2);
	call_rcu(&o.rcu, free_object);
	poll_on(0, 1);
	cr_expect_neq(timers_next(), TIME_NEVER);
	host_become(1);
	rcu_quiescent_state();
	host_become(0);
	host_clock_set(timers_next());
	this_pcpu()->work = 0;
	timers_run(arch_now_ns());
	cr_expect(this_pcpu()->work & WORK_RCU);
	rcu_poll();
	cr_expect_eq(freed, 1);
	cr_expect_eq(timers_next(), TIME_NEVER);
}

/* ---- threads, both backends ---- */

#define CPUS 4
#define UPDATES 1500

static struct {
	struct object *shared;
	_Atomic uint64_t reads, hurt, called, ran;
	_Atomic unsigned writers;
	_Atomic bool stop;
	uint64_t ran_by[CPUS], elsewhere;
} rs;

struct owned {
	struct object o;
	unsigned cpu;
};

static void reclaim(struct rcu_head *head)
{
	struct owned *w = container_of(head, struct owned, o.rcu);

	if (w->cpu != this_pcpu()->id)
		rs.elsewhere++;
	atomic_store(&w->o.state, DEAD);
	w->o.serial = 0;
	free(w);
	atomic_fetch_add(&rs.ran, 1);
}

static struct object *new_object(unsigned serial)
{
	struct owned *w = malloc(sizeof(*w));

	w->cpu = this_pcpu() ? this_pcpu()->id : 0;
	w->o.serial = serial;
	atomic_init(&w->o.state, ALIVE);
	return &w->o;
}

static void read_some(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct object *o;

		rcu_read_lock();
		o = rcu_dereference(rs.shared);
		for (unsigned k = 0; k < 20; k++)
			if (atomic_load_explicit(&o->state, memory_order_relaxed) != ALIVE ||
			    !o->serial)
				atomic_fetch_add(&rs.hurt, 1);
		rcu_read_unlock();
		atomic_fetch_add(&rs.reads, 1);
	}
}

static void mixed(void *arg)
{
	unsigned self = this_pcpu()->id;

	(void)arg;
	/* pCPUs 0 and 1 replace the object, all read. */
	for (unsigned i = 0; self < 2 && i < UPDATES; i++) {
		struct object *n = new_object(i + 1);
		struct object *old = __atomic_exchange_n(&rs.shared, n, __ATOMIC_ACQ_REL);

		container_of(old, struct owned, o)->cpu = self;
		call_rcu(&old->rcu, reclaim);
		atomic_fetch_add(&rs.called, 1);
		read_some(3);
		host_service();
		if (i % 64 == 0) {
			rcu_thread_offline();
			sched_yield();
			rcu_thread_online();
		}
	}
	if (self < 2)
		atomic_fetch_sub(&rs.writers, 1);
	while (atomic_load(&rs.writers)) {
		read_some(10);
		host_service();
	}
	while (rcu_pending()) {
		host_service();
		sched_yield();
	}
}

static void conservation(enum host_rcu which)
{
	host_clock_virtual(false);
	host_rcu_select(which);
	atomic_store(&rs.writers, 2);
	rs.shared = new_object(1);
	host_threads_start(CPUS, mixed, NULL);
	host_threads_join();
	cr_expect_eq(atomic_load(&rs.hurt), 0);
	cr_expect_eq(atomic_load(&rs.called), 2 * UPDATES);
	cr_expect_eq(atomic_load(&rs.ran), 2 * UPDATES);
	cr_expect_eq(rs.elsewhere, 0, "callbacks run where they were queued");
	cr_expect_gt(atomic_load(&rs.reads), 0);
	free(container_of(rs.shared, struct owned, o));
}

Test(percpu_rcu, stress_own)
{
	conservation(HOST_RCU_QSBR);
}

Test(percpu_rcu, stress_urcu)
{
	conservation(HOST_RCU_URCU);
}

/* The reader is inside its section, by handshake, while the updater does all it can to finish. */
static struct {
	call_rcu_fn *call;
	struct object *o;
	_Atomic int phase;
	bool hurt;
	bool gone_after;
} hs;

static void hs_reclaim(struct rcu_head *head)
{
	atomic_store(&container_of(head, struct object, rcu)->state, DEAD);
}

static void await(int phase)
{
	while (atomic_load(&hs.phase) < phase)
		sched_yield();
}

static void handshake(void *arg)
{
	(void)arg;
	if (this_pcpu()->id == 1) {
		struct object *o = rcu_dereference(hs.o);

		atomic_store(&hs.phase, 1);
		await(2);
		hs.hurt = atomic_load(&o->state) != ALIVE;
		rcu_thread_offline();
		atomic_store(&hs.phase, 3);
		await(4);
		rcu_thread_online();
		return;
	}
	await(1);
	hs.call(&hs.o->rcu, hs_reclaim);
	for (unsigned i = 0; i < 300; i++) {
		host_service();
		sched_yield();
	}
	atomic_store(&hs.phase, 2);
	await(3);
	while (rcu_pending()) {
		host_service();
		sched_yield();
	}
	hs.gone_after = atomic_load(&hs.o->state) == DEAD;
	atomic_store(&hs.phase, 4);
}

static void shake(enum host_rcu which, call_rcu_fn *call, bool expect_hurt)
{
	static struct object o;

	host_clock_virtual(false);
	host_rcu_select(which);
	atomic_store(&o.state, ALIVE);
	hs.o = &o;
	hs.call = call;
	host_threads_start(2, handshake, NULL);
	host_threads_join();
	cr_expect_eq(hs.hurt, expect_hurt);
	cr_expect(hs.gone_after);
}

Test(percpu_rcu, reader_in_section_own)
{
	shake(HOST_RCU_QSBR, call_rcu, false);
}

Test(percpu_rcu, reader_in_section_urcu)
{
	shake(HOST_RCU_URCU, call_rcu, false);
}

Test(percpu_rcu, reader_in_section_broken)
{
	shake(HOST_RCU_QSBR, broken_call_rcu, true);
}
