/* SPDX-License-Identifier: MIT */
/* Between the scheduler's own files: sched.c (BVT), sched_unit.c (life of a unit), sched_move.c. */
#ifndef PERCPU_SCHED_IMPL_H
#define PERCPU_SCHED_IMPL_H

#include "percpu/pcpu.h"

extern const struct sched_hooks *sched_hooks;

#define UNIT_OF(m, field) container_of((m), struct sched_unit, field)

static inline uint32_t unit_state(struct sched_unit *u)
{
	return atomic_load_explicit(&u->state, memory_order_relaxed) & US_MASK;
}

static inline bool unit_allowed(const struct sched_unit *u, unsigned cpu)
{
	return cpumask_test(&u->pin, cpu);
}

/* Change the state proper and clear @clear flags; returns the old word. Home only. */
static inline uint32_t unit_set_state(struct sched_unit *u, uint32_t state, uint32_t clear)
{
	uint32_t old = atomic_load_explicit(&u->state, memory_order_relaxed);
	CAS_LOOP(loop, "unit's state");

	/* PAIRS: sched_wake */
	while (!atomic_compare_exchange_weak_explicit(&u->state, &old,
						      (old & ~(US_MASK | clear)) | state,
						      memory_order_acq_rel, memory_order_relaxed))
		retry(&loop);
	return old;
}

/* Virtual ns that @ns of run time are worth at @weight. */
static inline int64_t vt_of(uint64_t ns, uint32_t weight)
{
	return (int64_t)(ns * SCHED_VT_SCALE / weight);
}

/* EVT; may be negative for a warped unit. */
static inline int64_t unit_evt(const struct sched_unit *u)
{
	return (int64_t)(u->avt - (u->warped ? u->warp_vt : 0));
}

/* sched.c */
void sched_charge(struct pcpu *p, uint64_t now);
void sched_update_svt(struct pcpu *p);
void sched_enqueue(struct pcpu *p, struct sched_unit *u);
void sched_dequeue(struct pcpu *p, struct sched_unit *u);
/* u, not on any queue and not counted, becomes queued here (u->state is set by the caller). */
void sched_activate(struct pcpu *p, struct sched_unit *u, uint64_t now);
/* u, counted as runnable and off the queue, is no longer counted. */
void sched_deactivate(struct pcpu *p, struct sched_unit *u);
void sched_set_runstate(struct sched_unit *u, int state, uint64_t now);
void sched_warp_on_wake(struct sched_unit *u, uint64_t now);
void sched_reweigh(struct pcpu *p, struct sched_unit *u, uint32_t weight);

/* sched_unit.c */
void sched_finish_stop(struct pcpu *p, struct sched_unit *u, uint64_t now);

/* sched_move.c */
unsigned sched_place(const struct sched_unit *u);
unsigned sched_find_idle(const struct sched_unit *u);
void sched_send(struct pcpu *p, struct sched_unit *u, unsigned target);
void sched_move_msg(struct inbox_msg *m);
void sched_steal_msg(struct inbox_msg *m);
void sched_evict_msg(struct inbox_msg *m);
void sched_post_evict(struct pcpu *p);
void sched_request_work(struct pcpu *p);
void sched_balance_arm(struct pcpu *p, uint64_t now);
void sched_balance_tick(struct timer *t, uint64_t now);

#endif
