/* SPDX-License-Identifier: MIT */
/* The life of a unit: start, wake, block, park, stop, change of parameters. Protocol: sched.h. */
#include <stdint.h>
#include <xen/xen.h>
#include <xen/vcpu.h>

#include "core/lib.h"
#include "percpu/sched_impl.h"

/* A mask without any pCPU that takes units stands for all. */
static cpumask_t usable_pin(const cpumask_t *pin)
{
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct pcpu *p = pcpu_get(i);

		if (p && cpumask_test(pin, i) &&
		    atomic_load_explicit(&p->load.online, memory_order_relaxed))
			return *pin;
	}
	return CPUMASK_ALL;
}

static void apply_params(struct sched_unit *u, const struct sched_params *sp)
{
	u->warp_vt =
		MIN(sp->warp_us, 3600000000ULL) * NS_PER_US * SCHED_VT_SCALE / SCHED_WEIGHT_DEFAULT;
	u->warp_limit_ns = MIN(sp->warp_limit_us, 3600000000ULL) * NS_PER_US;
	u->unwarp_ns = MIN(sp->unwarp_us, 3600000000ULL) * NS_PER_US;
	u->pin = usable_pin(&sp->pin);
}

static uint32_t clamp_weight(uint32_t weight)
{
	return !weight ? SCHED_WEIGHT_DEFAULT : MIN(weight, SCHED_WEIGHT_MAX);
}

static void wake_msg(struct inbox_msg *m);
static void stop_msg(struct inbox_msg *m);
static void params_msg(struct inbox_msg *m);

void sched_unit_init(struct sched_unit *u, const struct sched_params *params, uint64_t now_ns)
{
	memset(u, 0, sizeof(*u));
	u->weight = clamp_weight(params->weight);
	apply_params(u, params);
	u->rs.state = RUNSTATE_offline;
	u->rs.entry_ns = now_ns;
	u->wake_msg.fn = wake_msg;
	u->move_msg.fn = sched_move_msg;
	u->stop_msg.fn = stop_msg;
	u->params_msg.fn = params_msg;
}

/* ---- wake ---- */

/*
 * Post @m to the home with flag @flag set, unless it is on its way already or the unit's state is
 * one of those in @not (bits by state). The flag is set by CAS on the word that also holds the
 * state, so never after US_OFF.
 */
static bool post_once(struct sched_unit *u, uint32_t flag, struct inbox_msg *m, uint32_t not )
{
	uint32_t st = atomic_load_explicit(&u->state, memory_order_relaxed);
	CAS_LOOP(loop, "unit's message flag");

	do {
		if (st & flag || not >> (st & US_MASK) & 1)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
			 &u->state, &st, st | flag, memory_order_acq_rel, memory_order_relaxed) &&
		 retry(&loop));
	retry_done(&loop);
	inbox_post(sched_home(u), m);
	return true;
}

void sched_wake(struct sched_unit *u)
{
	/* PAIRS: sched_wake: an RMW even if the flag is set: who clears it must see our event. */
	uint32_t old = atomic_fetch_or_explicit(&u->state, UF_WAKE, memory_order_acq_rel);

	if (old & UF_WAKE)
		return;
	/* Queued or moving: the unit looks for events when it is switched in. */
	post_once(u, UF_MSG, &u->wake_msg,
		  1u << US_OFF | 1u << US_QUEUED | 1u << US_MOVING | 1u << US_PARKED);
}

static void complete_stop(struct inbox_msg *m)
{
	struct sched_unit *u = UNIT_OF(m, stop_msg);

	u->on_stopped(u);
}

/* on_stopped goes through the own inbox: the old context is unloaded when it is drained. */
static void try_complete_stop(struct sched_unit *u)
{
	uint32_t st = atomic_load_explicit(&u->state, memory_order_relaxed);

	if (!u->stop_finished || st & (UF_MSG | UF_PARAMS))
		return;
	u->stop_finished = false;
	u->stop_msg.fn = complete_stop;
	inbox_post(this_pcpu()->id, &u->stop_msg);
}

/* A blocked (or parked) unit of this pCPU becomes runnable. */
static void make_runnable(struct pcpu *p, struct sched_unit *u, uint64_t now)
{
	unsigned target = p->id;

	sched_charge(p, now);
	sched_update_svt(p);
	u->avt = MAX(u->avt, p->sched.svt);
	u->lag = 0;
	sched_warp_on_wake(u, now);
	sched_set_runstate(u, RUNSTATE_runnable, now);
	if (!unit_allowed(u, p->id))
		target = sched_place(u);
	else if (p->sched.nr && now - u->moved_ns >= NS_PER_MS)
		target = sched_find_idle(u);
	if (target != p->id) {
		sched_send(p, u, target);
		return;
	}
	unit_set_state(u, US_QUEUED, UF_UNPARK);
	sched_activate(p, u, now);
}

static void wake_msg(struct inbox_msg *m)
{
	struct sched_unit *u = UNIT_OF(m, wake_msg);
	struct pcpu *p = this_pcpu();
	uint32_t st;

	if (sched_home(u) != p->id) { /* it moved meanwhile: the message follows it */
		inbox_post(sched_home(u), m);
		return;
	}
	/* PAIRS: sched_wake */
	st = atomic_fetch_and_explicit(&u->state, ~(uint32_t)UF_MSG, memory_order_acq_rel);
	switch (st & US_MASK) {
	case US_RUNNING:
		/* Its exit path, which we are in, looks for events after this. */
		atomic_fetch_and_explicit(&u->state, ~(uint32_t)UF_WAKE, memory_order_acq_rel);
		p->work |= WORK_EVENT;
		break;
	case US_PARKED:
		if (!(st & UF_UNPARK))
			break;
		/* fall through */
	case US_BLOCKED:
		/* Without the flag the wake was consumed by a block that failed because of it. */
		if (u->stopping || !(st & (UF_WAKE | UF_UNPARK)))
			break;
		if (u == p->sched.cur) /* not yet switched away from */
			unit_set_state(u, US_RUNNING, UF_WAKE | UF_UNPARK);
		else
			make_runnable(p, u, arch_now_ns());
		break;
	case US_OFF:
		try_complete_stop(u);
		break;
	default:
		break;
	}
}

/* ---- start, block, park ---- */

void sched_unit_start(struct sched_unit *u)
{
	uint64_t now = arch_now_ns();
	uint32_t st = atomic_load_explicit(&u->state, memory_order_relaxed);
	CAS_LOOP(loop, "unit's start");

	if ((st & US_MASK) != US_OFF) {
		atomic_fetch_or_explicit(&u->state, UF_UNPARK, memory_order_acq_rel);
		post_once(u, UF_MSG, &u->wake_msg, 1u << US_OFF);
		return;
	}
	atomic_store_explicit(&u->home, this_pcpu()->id, memory_order_relaxed);
	do {
		if (st & UF_STOP)
			return;
	} while (!atomic_compare_exchange_weak_explicit(
			 &u->state, &st, US_MOVING, memory_order_acq_rel, memory_order_relaxed) &&
		 retry(&loop));
	retry_done(&loop);
	sched_set_runstate(u, RUNSTATE_runnable, now);
	u->fresh = true;
	sched_warp_on_wake(u, now);
	sched_send(this_pcpu(), u, sched_place(u));
}

/* RUNNING -> @state; false when UF_WAKE is set and @heed says that this counts: then it is cleared. */
static bool leave_running(struct sched_unit *u, uint32_t state, bool heed)
{
	uint32_t st = atomic_load_explicit(&u->state, memory_order_relaxed);
	uint32_t to;
	CAS_LOOP(loop, "unit's leaving the pCPU");

	do {
		to = (st & ~(uint32_t)(US_MASK | UF_WAKE)) |
		     (heed && st & UF_WAKE ? (uint32_t)US_RUNNING : state);
		/* PAIRS: sched_wake */
	} while (!atomic_compare_exchange_weak_explicit(&u->state, &st, to, memory_order_acq_rel,
							memory_order_relaxed) &&
		 retry(&loop));
	return (to & US_MASK) == state;
}

bool sched_block_current(void)
{
	struct pcpu *p = this_pcpu();

	BUG_ON(!p->sched.cur);
	if (!leave_running(p->sched.cur, US_BLOCKED, true))
		return false;
	p->work |= WORK_RESCHED;
	return true;
}

void sched_park_current(void)
{
	struct pcpu *p = this_pcpu();
	struct sched_unit *u = p->sched.cur;

	BUG_ON(!u);
	leave_running(u, US_PARKED, false);
	p->work |= WORK_RESCHED;
	/* A start that came just before finds its message handled: look once more. */
	if (atomic_load_explicit(&u->state, memory_order_acquire) & UF_UNPARK)
		post_once(u, UF_MSG, &u->wake_msg, 0);
}

/* ---- stop ---- */

void sched_unit_stop(struct sched_unit *u, void (*on_stopped)(struct sched_unit *u))
{
	uint32_t old = atomic_fetch_or_explicit(&u->state, UF_STOP, memory_order_acq_rel);

	if (old & UF_STOP)
		return;
	u->on_stopped = on_stopped;
	if ((old & US_MASK) == US_OFF) {
		u->stop_msg.fn = complete_stop;
		inbox_post(this_pcpu()->id, &u->stop_msg);
	} else {
		inbox_post(sched_home(u), &u->stop_msg);
	}
}

/* @u is on no queue, not current and not counted any more. */
void sched_finish_stop(struct pcpu *p, struct sched_unit *u, uint64_t now)
{
	(void)p;
	u->stopping = false;
	u->stop_finished = true;
	unit_set_state(u, US_OFF, UF_WAKE | UF_UNPARK);
	sched_set_runstate(u, RUNSTATE_offline, now);
	try_complete_stop(u);
}

static void stop_msg(struct inbox_msg *m)
{
	struct sched_unit *u = UNIT_OF(m, stop_msg);
	struct pcpu *p = this_pcpu();

	if (sched_home(u) != p->id) {
		inbox_post(sched_home(u), m);
		return;
	}
	u->stopping = true;
	if (u == p->sched.cur) {
		p->work |= WORK_RESCHED;
	} else if (unit_state(u) == US_QUEUED) {
		sched_dequeue(p, u);
		sched_deactivate(p, u);
		sched_finish_stop(p, u, arch_now_ns());
	} else if (unit_state(u) != US_MOVING) { /* moving: on its arrival */
		sched_finish_stop(p, u, arch_now_ns());
	}
}

/* ---- parameters ---- */

bool sched_set_params(struct sched_unit *u, const struct sched_params *params)
{
	if (atomic_load_explicit(&u->state, memory_order_acquire) & UF_PARAMS)
		return false;
	u->new_params = *params;
	return post_once(u, UF_PARAMS, &u->params_msg, 1u << US_OFF);
}

static void params_msg(struct inbox_msg *m)
{
	struct sched_unit *u = UNIT_OF(m, params_msg);
	struct pcpu *p = this_pcpu();
	uint64_t now = arch_now_ns();
	bool queued, counted;

	if (sched_home(u) != p->id || unit_state(u) == US_MOVING) {
		/* On its way to us, it arrives before a message that goes round once more. */
		inbox_post(sched_home(u), m);
		return;
	}
	sched_charge(p, now);
	queued = unit_state(u) == US_QUEUED;
	counted = queued || u == p->sched.cur;
	if (queued)
		sched_dequeue(p, u);
	if (counted)
		sched_reweigh(p, u, clamp_weight(u->new_params.weight));
	else
		u->weight = clamp_weight(u->new_params.weight);
	u->vt_rem = MIN(u->vt_rem, u->weight - 1);
	apply_params(u, &u->new_params);
	if (!u->warp_vt)
		u->warped = false;
	if (queued)
		sched_enqueue(p, u);
	if (counted)
		p->work |= WORK_RESCHED;
	if (!unit_allowed(u, p->id) && counted)
		sched_post_evict(p);
	/* Release: new_params may be written again. */
	atomic_fetch_and_explicit(&u->state, ~(uint32_t)UF_PARAMS, memory_order_acq_rel);
	try_complete_stop(u);
}
