/* SPDX-License-Identifier: MIT */
/* The BVT queue of one pCPU: virtual times, charging, choice of the next unit. */
#include "percpu/sched.h"

#include <stdint.h>
#include <xen/xen.h>
#include <xen/vcpu.h>

#include "percpu/sched_impl.h"

const struct sched_hooks *sched_hooks;
static uint64_t allowance_ns = SCHED_ALLOWANCE_DEFAULT_NS;

/* Beyond this the distance of two EVTs does not matter; keeps products within 64 bits. */
#define GAP_MAX (1LL << 42)
#define SLICE_SLACK_NS (10 * NS_PER_US)

void sched_set_hooks(const struct sched_hooks *h)
{
	sched_hooks = h;
}

void sched_set_allowance(uint64_t ns)
{
	allowance_ns = MAX(ns, 10 * NS_PER_US);
}

uint64_t sched_allowance(void)
{
	return allowance_ns;
}

static void slice_expired(struct timer *t, uint64_t now_ns)
{
	(void)t;
	(void)now_ns;
	this_pcpu()->work |= WORK_RESCHED;
}

void sched_init_pcpu(struct pcpu *p)
{
	struct sched *s = &p->sched;

	timer_init(&s->slice, slice_expired);
	timer_init(&s->balance, sched_balance_tick);
	s->steal.msg.fn = sched_steal_msg;
	s->steal.thief = p->id;
	s->evict.fn = sched_evict_msg;
	s->rng = 0x9e3779b9u * (p->id + 1);
	s->rotor = p->id;
}

void sched_online(void)
{
	struct pcpu *p = this_pcpu();

	p->sched.idle_since_ns = arch_now_ns();
	atomic_store_explicit(&p->load.online, true, memory_order_release);
}

/* ---- accounting ---- */

/*
 * The runstate is a seqlock with one writer (the home): rs_seq is odd while it changes. Each store
 * to the data releases the odd number before it; a reader that acquires any of them sees that.
 * PAIRS: sched_runstate
 */
static void store_rel(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

void sched_set_runstate(struct sched_unit *u, int state, uint64_t now)
{
	struct sched_runstate *rs = &u->rs;
	uint32_t seq = atomic_load_explicit(&u->rs_seq, memory_order_relaxed);
	int old = rs->state;

	if (state == old)
		return;
	/* Each moment is charged to exactly one state: time[] always sums up to entry - creation. */
	now = MAX(now, rs->entry_ns);
	atomic_store_explicit(&u->rs_seq, seq + 1, memory_order_relaxed);
	store_rel(&rs->time[old], rs->time[old] + now - rs->entry_ns);
	store_rel(&rs->entry_ns, now);
	__atomic_store_n(&rs->state, state, __ATOMIC_RELEASE);
	atomic_store_explicit(&u->rs_seq, seq + 2, memory_order_release);
	if (sched_hooks && sched_hooks->on_runstate)
		sched_hooks->on_runstate(u, old, now);
}

struct sched_runstate sched_runstate(const struct sched_unit *u, uint64_t now)
{
	struct sched_runstate r;
	uint32_t seq;
	WAIT_LOOP(loop, "runstate being changed");

	for (;;) {
		/* PAIRS: sched_runstate */
		seq = atomic_load_explicit(&u->rs_seq, memory_order_acquire);
		for (unsigned i = 0; i < ARRAY_SIZE(r.time); i++)
			r.time[i] = __atomic_load_n(&u->rs.time[i], __ATOMIC_ACQUIRE);
		r.entry_ns = __atomic_load_n(&u->rs.entry_ns, __ATOMIC_ACQUIRE);
		r.state = __atomic_load_n(&u->rs.state, __ATOMIC_ACQUIRE);
		if (!(seq & 1) && seq == atomic_load_explicit(&u->rs_seq, memory_order_relaxed))
			break;
		retry(&loop);
		cpu_relax();
	}
	if (now > r.entry_ns)
		r.time[r.state] += now - r.entry_ns;
	return r;
}

void sched_charge(struct pcpu *p, uint64_t now)
{
	struct sched_unit *u = p->sched.cur;
	uint64_t ran, vt;

	if (!u || now <= u->account_ns)
		return;
	ran = now - u->account_ns;
	u->account_ns = now;
	/* The remainder is carried over, so that virtual time never drifts from run time. */
	vt = ran * SCHED_VT_SCALE + u->vt_rem;
	u->avt += vt / u->weight;
	u->vt_rem = (uint32_t)(vt % u->weight);
	atomic_store_explicit(&u->cpu_ns,
			      atomic_load_explicit(&u->cpu_ns, memory_order_relaxed) + ran,
			      memory_order_relaxed);
	if (!u->warped)
		return;
	u->warp_used_ns += ran;
	if (u->warp_limit_ns && u->warp_used_ns >= u->warp_limit_ns) {
		u->warped = false; /* the warp time limit L */
		u->warp_off_ns = now;
	}
}

static void publish_load(struct pcpu *p)
{
	bool spare = p->sched.nr > 1;

	atomic_store_explicit(&p->load.weight, p->sched.weight, memory_order_relaxed);
	if (spare != atomic_load_explicit(&p->load.spare, memory_order_relaxed))
		atomic_store_explicit(&p->load.spare, spare, memory_order_relaxed);
}

/* ---- queues ---- */

static struct sched_unit **queue_of(struct sched *s, const struct sched_unit *u)
{
	return u->warped ? &s->warpq : &s->queue;
}

/* Sorted by EVT (in `queue` the same as by AVT), after equals: first come, first served. */
void sched_enqueue(struct pcpu *p, struct sched_unit *u)
{
	struct sched_unit **link = queue_of(&p->sched, u);
	struct sched_unit *prev = NULL;
	int64_t evt = unit_evt(u);

	while (*link && unit_evt(*link) <= evt) {
		prev = *link;
		link = &prev->next;
	}
	u->next = *link;
	u->prev = prev;
	if (u->next)
		u->next->prev = u;
	*link = u;
}

void sched_dequeue(struct pcpu *p, struct sched_unit *u)
{
	if (u->prev)
		u->prev->next = u->next;
	else
		*queue_of(&p->sched, u) = u->next;
	if (u->next)
		u->next->prev = u->prev;
	u->next = u->prev = NULL;
}

static struct sched_unit *best_queued(const struct sched *s)
{
	if (!s->warpq || (s->queue && unit_evt(s->queue) < unit_evt(s->warpq)))
		return s->queue;
	return s->warpq;
}

/* SVT = least AVT of the runnable units; it never runs backwards. */
void sched_update_svt(struct pcpu *p)
{
	struct sched *s = &p->sched;
	uint64_t least = UINT64_MAX;

	if (s->queue)
		least = s->queue->avt;
	for (struct sched_unit *u = s->warpq; u; u = u->next)
		least = MIN(least, u->avt);
	if (s->cur && unit_state(s->cur) == US_RUNNING)
		least = MIN(least, s->cur->avt);
	if (least != UINT64_MAX && least > s->svt)
		s->svt = least;
}

/* ---- the slice ---- */

static int64_t gap_clamp(int64_t gap)
{
	return gap > GAP_MAX ? GAP_MAX : gap < -GAP_MAX ? -GAP_MAX : gap;
}

/*
 * The current unit runs until its EVT is the allowance ahead of the next one's, which takes
 * (gap + C/weight) of virtual time, or until its warp limit. Alone, it needs no timer.
 */
static void arm_slice(struct pcpu *p, uint64_t now)
{
	struct sched *s = &p->sched;
	struct sched_unit *cur = s->cur;
	struct sched_unit *next = best_queued(s);
	int64_t vt;
	uint64_t run;

	if (!cur || !next) {
		timer_disarm(&s->slice);
		return;
	}
	vt = gap_clamp(unit_evt(next) - unit_evt(cur)) + vt_of(allowance_ns, cur->weight) + 1;
	run = vt > 0 ? DIV_ROUND_UP((uint64_t)vt * cur->weight, SCHED_VT_SCALE) : 0;
	if (cur->warped && cur->warp_limit_ns)
		run = MIN(run, cur->warp_limit_ns - cur->warp_used_ns);
	/* Rounding moves the same end about by some ns; the hardware timer is not bothered for that. */
	if (timer_armed(&s->slice) && s->slice.expires_ns + NS_PER_US >= now + run &&
	    s->slice.expires_ns <= now + run + SLICE_SLACK_NS)
		return;
	timer_arm(&s->slice, now + run);
}

/* ---- coming and going ---- */

void sched_warp_on_wake(struct sched_unit *u, uint64_t now)
{
	if (!u->warp_vt || u->warped)
		return;
	/* U: only after that much time unwarped does it get its full warp time again. */
	if (now - u->warp_off_ns >= u->unwarp_ns)
		u->warp_used_ns = 0;
	u->warped = !u->warp_limit_ns || u->warp_used_ns < u->warp_limit_ns;
}

void sched_activate(struct pcpu *p, struct sched_unit *u, uint64_t now)
{
	struct sched *s = &p->sched;

	sched_charge(p, now);
	sched_enqueue(p, u);
	s->nr++;
	s->weight += u->weight;
	publish_load(p);
	sched_balance_arm(p, now);
	if (!s->cur) {
		p->work |= WORK_RESCHED;
	} else if (unit_evt(u) < unit_evt(s->cur)) {
		s->preempt = true;
		p->work |= WORK_RESCHED;
	} else {
		arm_slice(p, now);
	}
}

void sched_deactivate(struct pcpu *p, struct sched_unit *u)
{
	p->sched.nr--;
	p->sched.weight -= u->weight;
	publish_load(p);
}

void sched_reweigh(struct pcpu *p, struct sched_unit *u, uint32_t weight)
{
	p->sched.weight += weight - u->weight;
	u->weight = weight;
	publish_load(p);
}

/* The unit that was current and can't go on: blocked, parked or stopped. */
static void leave(struct pcpu *p, struct sched_unit *u, uint64_t now)
{
	sched_deactivate(p, u);
	if (u->warped) {
		u->warped = false;
		u->warp_off_ns = now;
	}
	if (u->stopping) {
		sched_finish_stop(p, u, now);
		return;
	}
	sched_set_runstate(u, unit_state(u) == US_PARKED ? RUNSTATE_offline : RUNSTATE_blocked,
			   now);
}

/* Whether the current unit, still runnable, goes on although @next waits. */
static bool keep_current(struct sched *s, struct sched_unit *next, unsigned cpu)
{
	struct sched_unit *cur = s->cur;
	int64_t ahead = unit_evt(cur) - unit_evt(next);

	if (!unit_allowed(cur, cpu))
		return false;
	if (s->yielded) {
		/* Its claim is given up to the next one's, so that it does not come back at once. */
		if (ahead < 0)
			cur->avt += (uint64_t)-ahead;
		return false;
	}
	if (s->preempt)
		return ahead <= 0;
	return ahead < vt_of(allowance_ns, cur->weight);
}

static void switch_in(struct pcpu *p, struct sched_unit *u, uint64_t now)
{
	struct sched *s = &p->sched;

	sched_dequeue(p, u);
	s->cur = u;
	s->nr_switches++;
	u->nr_switches++;
	u->account_ns = now;
	/* From here on its exit path looks for events: wakes so far have been acted on. */
	unit_set_state(u, US_RUNNING, UF_WAKE);
	sched_set_runstate(u, RUNSTATE_running, now);
}

struct sched_unit *sched_pick(uint64_t now)
{
	struct pcpu *p = this_pcpu();
	struct sched *s = &p->sched;
	struct sched_unit *prev = s->cur;
	struct sched_unit *next;

	p->work &= ~WORK_RESCHED;
	sched_charge(p, now);
	if (prev && (prev->stopping || unit_state(prev) != US_RUNNING)) {
		s->cur = NULL;
		leave(p, prev, now);
		prev = NULL;
	}
	next = best_queued(s);
	if (prev &&
	    ((!next && unit_allowed(prev, p->id)) || (next && keep_current(s, next, p->id)))) {
		next = NULL;
	} else {
		if (prev) {
			s->cur = NULL;
			unit_set_state(prev, US_QUEUED, 0);
			sched_set_runstate(prev, RUNSTATE_runnable, now);
			sched_enqueue(p, prev);
			if (!unit_allowed(prev, p->id))
				sched_post_evict(p);
		}
		if (next)
			switch_in(p, next, now);
	}
	s->preempt = false;
	s->yielded = false;
	sched_update_svt(p);
	arm_slice(p, now);
	if (s->cur) {
		if (s->idle_since_ns) {
			s->idle_ns += now - s->idle_since_ns;
			s->idle_since_ns = 0;
		}
		return s->cur;
	}
	if (!s->idle_since_ns) { /* ask once; after that balancing remembers us */
		s->idle_since_ns = now;
		sched_request_work(p);
	}
	return NULL;
}

bool sched_current_must_leave(void)
{
	struct sched_unit *u = this_pcpu()->sched.cur;

	return u && (u->stopping || unit_state(u) != US_RUNNING);
}

void sched_yield_current(void)
{
	struct pcpu *p = this_pcpu();

	p->sched.yielded = true;
	p->work |= WORK_RESCHED;
}

uint64_t sched_cpu_ns(const struct sched_unit *u)
{
	return atomic_load_explicit(&u->cpu_ns, memory_order_relaxed);
}
