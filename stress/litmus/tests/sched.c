/* SPDX-License-Identifier: MIT */
/* percpu/sched.h: wakes against blocks, a move under a wake, the runstate under a reader. */
#include <stdint.h>
#include <xen/xen.h>
#include <xen/vcpu.h>

#include "core/host/host.h"
#include "percpu/sched_impl.h"
#include "stress/litmus/litmus.h"

static struct sched_unit unit;
static _Atomic uint32_t event;
static unsigned payload;

static void setup_on(unsigned cpus, unsigned home)
{
	struct sched_params p = {.weight = 256, .pin = cpumask_of(home)};

	host_sim_init(cpus);
	sched_unit_init(&unit, &p, 0);
	sched_unit_start(&unit);
	for (unsigned i = 0; i < cpus; i++) {
		host_become(i);
		host_service();
		sched_pick(arch_now_ns());
		this_pcpu()->work = 0;
	}
	host_become(0);
	if (unit_state(&unit) != US_RUNNING)
		litmus_fail("the unit does not run");
}

/* ---- wake ---- */

static _Atomic uint32_t event2;

static void setup_wake(void)
{
	setup_on(3, 1);
}

static void wait_for_event(void)
{
	while (!atomic_load_explicit(&event, memory_order_relaxed) ||
	       !atomic_load_explicit(&event2, memory_order_relaxed)) {
		if (!sched_block_current())
			continue;
		/* The exit path, until the unit runs again. */
		while (sched_pick(1) != &unit) {
			if (!inbox_pending(&this_pcpu()->inbox))
				litmus_idle();
			inbox_drain();
		}
	}
}

static void thread_wake(unsigned me)
{
	if (me == 1) {
		wait_for_event();
		return;
	}
	atomic_store_explicit(me ? &event2 : &event, 1, memory_order_relaxed);
	sched_wake(&unit);
}

LITMUS(wake, "sched_wake", "who blocks has seen every event, or is woken", 3, 2, setup_wake,
       thread_wake, NULL);

/* ---- move ---- */

static void setup_move(void)
{
	setup_on(3, 1);
	/* It may run on 2 as well, and is queued on 1, which has sent it to sleep. */
	unit.pin = CPUMASK_ALL;
	host_become(1);
	if (!sched_block_current() || sched_pick(0))
		litmus_fail("the unit does not block");
	host_become(0);
}

/* Thread 0 wakes it, 1 wakes it and sends it on, 2 takes it in: it runs at last. */
static void thread_move(unsigned me)
{
	struct pcpu *p = this_pcpu();

	if (me == 0) {
		atomic_store_explicit(&event, 1, memory_order_relaxed);
		sched_wake(&unit);
		return;
	}
	if (me == 1) {
		while (!inbox_pending(&p->inbox))
			litmus_idle();
		inbox_drain();
		if (unit_state(&unit) != US_QUEUED)
			return;
		sched_dequeue(p, &unit);
		sched_deactivate(p, &unit);
		payload = 7;
		sched_send(p, &unit, 2);
		return;
	}
	while (sched_pick(1) != &unit) {
		if (!inbox_pending(&p->inbox))
			litmus_idle();
		inbox_drain();
	}
	LITMUS_ASSERT(payload == 7);
	/* It blocks; a second wake finds it at its new home. */
	LITMUS_ASSERT(sched_home(&unit) == 2);
}

LITMUS(move, "sched_move", "a unit arrives with all that its old home has written", 3, 2,
       setup_move, thread_move, NULL);

/* ---- runstate ---- */

static void setup_runstate(void)
{
	setup_on(2, 1);
}

static void thread_runstate(unsigned me)
{
	uint64_t sum = 0;
	struct sched_runstate r;

	if (me) {
		sched_set_runstate(&unit, RUNSTATE_blocked, 100);
		sched_set_runstate(&unit, RUNSTATE_running, 250);
		return;
	}
	r = sched_runstate(&unit, 1000);
	for (unsigned i = 0; i < ARRAY_SIZE(r.time); i++)
		sum += r.time[i];
	LITMUS_ASSERT(sum == 1000);
}

LITMUS(runstate, "sched_runstate", "a reader sees one state of the times, not parts of two", 2, 0,
       setup_runstate, thread_runstate, NULL);
