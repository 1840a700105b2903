/* SPDX-License-Identifier: MIT */
/*
 * Discrete-event simulation of the scheduler: the real per-pCPU code, pCPUs stepped in turn by one
 * thread, a virtual clock that jumps from event to event. A unit either burns CPU for ever or, I/O
 * like, alternates between a burst of run time and sleep.
 */
#ifndef TESTS_SCHED_SIM_H
#define TESTS_SCHED_SIM_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/vcpu.h>

#include "core/host/host.h"

#define SIM_UNITS 128
#define SIM_LATENCIES 65536

struct sim_unit {
	struct sched_unit u;
	bool started, stopped;
	uint64_t burst_ns, sleep_ns; /* burst 0: burner */
	uint64_t burst_target;	     /* run time at which it blocks */
	uint64_t wake_at;	     /* TIME_NEVER: awake */
	uint64_t woken_at;	     /* waiting since, 0: has run since */
	unsigned stops;		     /* on_stopped calls */
	unsigned bad_cpu;	     /* times seen running where it must not */
};

static struct sim {
	struct sim_unit units[SIM_UNITS];
	unsigned n, cpus;
	uint64_t now, start;
	uint64_t lat[SIM_LATENCIES];
	unsigned nlat;
	uint32_t rng;
} sim;

static inline uint32_t sim_random(void)
{
	sim.rng = sim.rng * 1664525u + 1013904223u;
	return sim.rng >> 8;
}

static inline void sim_init(unsigned cpus, uint32_t seed)
{
	memset(&sim, 0, sizeof(sim));
	sim.cpus = cpus;
	sim.rng = seed * 2654435761u + 1;
	sim.now = sim.start = NS_PER_SEC; /* not 0: nothing may depend on that */
	sched_set_allowance(SCHED_ALLOWANCE_DEFAULT_NS);
	sched_set_hooks(NULL);
	host_sim_init(cpus);
	host_clock_set(sim.now);
	for (unsigned i = 0; i < cpus; i++)
		pcpu_get(i)->sched.idle_since_ns = sim.now;
}

/* On the pCPU that starts it; @pin empty: anywhere. */
static inline struct sim_unit *sim_add(struct sched_params sp, uint64_t burst_ns, uint64_t sleep_ns)
{
	struct sim_unit *su = &sim.units[sim.n++];

	sched_unit_init(&su->u, &sp, sim.now);
	su->burst_ns = burst_ns;
	su->sleep_ns = sleep_ns;
	su->burst_target = burst_ns;
	su->wake_at = TIME_NEVER;
	su->started = true;
	sched_unit_start(&su->u);
	return su;
}

static inline struct sim_unit *sim_burner(uint32_t weight)
{
	return sim_add((struct sched_params){.weight = weight}, 0, 0);
}

static inline uint64_t sim_ran(struct sim_unit *su)
{
	return sched_runstate(&su->u, sim.now).time[RUNSTATE_running];
}

static inline uint32_t unit_state_of(struct sim_unit *su)
{
	return atomic_load(&su->u.state) & US_MASK;
}

static inline void sim_service(unsigned cpu)
{
	struct pcpu *p = pcpu_get(cpu);
	struct sched_unit *u;

	host_become(cpu);
	do {
		p->work = 0;
		inbox_drain();
		timers_run(sim.now);
		rcu_poll();
		u = sched_pick(sim.now);
		if (u) {
			struct sim_unit *su = container_of(u, struct sim_unit, u);

			if (!cpumask_test(&u->pin, cpu))
				su->bad_cpu++;
			if (su->woken_at) {
				if (sim.nlat < SIM_LATENCIES)
					sim.lat[sim.nlat++] = sim.now - su->woken_at;
				su->woken_at = 0;
			}
		}
	} while (p->work || inbox_pending(&p->inbox));
}

static inline bool sim_due(unsigned cpu)
{
	struct pcpu *p = pcpu_get(cpu);

	return p->work || inbox_pending(&p->inbox) || timer_heap_next(&p->timers) <= sim.now;
}

/* The current I/O units whose burst is over block; sleepers whose time has come are woken. */
static inline void sim_io(void)
{
	for (unsigned c = 0; c < sim.cpus; c++) {
		struct sched_unit *u = pcpu_get(c)->sched.cur;
		struct sim_unit *su = container_of(u, struct sim_unit, u);

		if (!u || !su->burst_ns || sim_ran(su) < su->burst_target)
			continue;
		host_become(c);
		su->burst_target = sim_ran(su) + su->burst_ns;
		if (sched_block_current())
			su->wake_at = sim.now + su->sleep_ns / 2 + sim_random() % su->sleep_ns;
	}
	for (unsigned i = 0; i < sim.n; i++) {
		struct sim_unit *su = &sim.units[i];

		if (su->wake_at > sim.now)
			continue;
		su->wake_at = TIME_NEVER;
		su->woken_at = sim.now;
		host_become(sim_random() % nr_pcpus());
		sched_wake(&su->u);
	}
}

static inline void sim_settle(void)
{
	bool again = true;

	while (again) {
		again = false;
		for (unsigned c = 0; c < sim.cpus; c++) {
			if (!sim_due(c))
				continue;
			sim_service(c);
			again = true;
		}
	}
	host_become(0);
}

static inline uint64_t sim_next_event(uint64_t end)
{
	uint64_t next = end;

	for (unsigned c = 0; c < sim.cpus; c++) {
		struct pcpu *p = pcpu_get(c);
		struct sched_unit *u = p->sched.cur;

		next = MIN(next, timer_heap_next(&p->timers));
		if (u) {
			struct sim_unit *su = container_of(u, struct sim_unit, u);

			if (su->burst_ns)
				next = MIN(next, sim.now + su->burst_target - sim_ran(su));
		}
	}
	for (unsigned i = 0; i < sim.n; i++)
		next = MIN(next, sim.units[i].wake_at);
	return next;
}

static inline void sim_run(uint64_t ns)
{
	uint64_t end = sim.now + ns;

	sim_settle();
	while (sim.now < end) {
		sim.now = MAX(sim_next_event(end), sim.now);
		host_clock_set(sim.now);
		sim_io();
		sim_settle();
	}
}

static inline int sim_cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The latency that @permille of all recorded wakes do not exceed. */
static inline uint64_t sim_latency(unsigned permille)
{
	qsort(sim.lat, sim.nlat, sizeof(sim.lat[0]), sim_cmp_u64);
	return sim.lat[(uint64_t)(sim.nlat - 1) * permille / 1000];
}

static inline uint64_t sim_migrations(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < sim.n; i++)
		n += sim.units[i].u.nr_migrations;
	return n;
}

#endif
