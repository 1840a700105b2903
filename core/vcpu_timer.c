/* SPDX-License-Identifier: MIT */
#include "core/vcpu_timer.h"

#include "core/arch.h"
#include "core/domain.h"

/* A deadline further away than this is a guest's overflow; answer it soon instead of never. */
#define FAR_FUTURE_NS (1ULL << 50)
#define OVERFLOW_NS (100 * NS_PER_MS)

enum { MOVING_SINGLESHOT = 1, MOVING_PERIODIC = 2, MOVING_POLL = 4 };

static void singleshot_fired(struct timer *t, uint64_t now)
{
	(void)now;
	send_guest_vcpu_virq(container_of(t, struct vcpu, singleshot), VIRQ_TIMER);
}

static void periodic_fired(struct timer *t, uint64_t now)
{
	struct vcpu *v = container_of(t, struct vcpu, periodic);
	uint64_t period = atomic_load_explicit(&v->periodic_ns, memory_order_relaxed);
	uint64_t next = t->expires_ns + period;

	if (!period)
		return;
	send_guest_vcpu_virq(v, VIRQ_TIMER);
	timer_arm(t, next > now ? next : now + period); /* ticks missed are not made up for */
}

static void poll_fired(struct timer *t, uint64_t now)
{
	struct vcpu *v = container_of(t, struct vcpu, poll_timer);

	(void)now;
	if (evtchn_poll_end(v))
		sched_wake(&v->unit);
}

void vcpu_timer_apply_period(struct vcpu *v)
{
	uint64_t period = atomic_load_explicit(&v->periodic_ns, memory_order_relaxed);

	if (period)
		timer_arm(&v->periodic, arch_now_ns() + period);
	else
		timer_disarm(&v->periodic);
}

static void ctl_message(struct inbox_msg *msg)
{
	struct vcpu *v = container_of(msg, struct vcpu, ctl_msg);
	unsigned home = sched_home(&v->unit);

	if (home != this_pcpu()->id) { /* PAIRS: sched_home */
		inbox_post(home, msg); /* it moved meanwhile; the move's own message is ahead */
		return;
	}
	/* A change from here on sends a new message. PAIRS: ctl_msg */
	atomic_store(&v->ctl_msg_busy, false);
	if (vcpu_must_stop(v))
		return;
	vcpu_timer_apply_period(v);
	if (v == current_vcpu() && !atomic_load(&v->is_up))
		sched_park_current();
}

void vcpu_ctl_post(struct vcpu *v)
{
	/* Whoever finds the message idle sends it; what changed is read after the flag is cleared,
	 * so the newest state is always applied. PAIRS: ctl_msg */
	if (!atomic_exchange(&v->ctl_msg_busy, true))
		inbox_post(sched_home(&v->unit), &v->ctl_msg);
}

void vcpu_timer_init(struct vcpu *v)
{
	timer_init(&v->singleshot, singleshot_fired);
	timer_init(&v->periodic, periodic_fired);
	timer_init(&v->poll_timer, poll_fired);
	v->ctl_msg.fn = ctl_message;
	atomic_init(&v->ctl_msg_busy, false);
	atomic_init(&v->periodic_ns, 0);
	v->timers_moving = 0;
}

void vcpu_timer_set(struct vcpu *v, uint64_t ns)
{
	uint64_t now = arch_now_ns();

	if (ns == 0) {
		timer_disarm(&v->singleshot);
		return;
	}
	if (ns > now && ns - now > FAR_FUTURE_NS)
		ns = now + OVERFLOW_NS;
	timer_arm(&v->singleshot, ns);
}

void vcpu_timer_set_period(struct vcpu *v, uint64_t ns)
{
	atomic_store(&v->periodic_ns, ns);
	if (v == current_vcpu()) {
		vcpu_timer_apply_period(v);
		return;
	}
	if (atomic_load(&v->starting) != VS_STARTED) /* applied when it first runs */
		return;
	vcpu_ctl_post(v);
}

static void take_off(struct vcpu *v, struct timer *t, uint8_t bit)
{
	if (!timer_armed(t))
		return;
	timer_disarm(t);
	v->timers_moving |= bit;
}

static void put_on(struct vcpu *v, struct timer *t, uint8_t bit)
{
	if (v->timers_moving & bit)
		timer_arm(t, t->expires_ns);
	v->timers_moving &= (uint8_t)~bit;
}

void vcpu_timer_migrate_out(struct sched_unit *u)
{
	struct vcpu *v = vcpu_of_unit(u);

	take_off(v, &v->singleshot, MOVING_SINGLESHOT);
	take_off(v, &v->periodic, MOVING_PERIODIC);
	take_off(v, &v->poll_timer, MOVING_POLL);
}

void vcpu_timer_migrate_in(struct sched_unit *u)
{
	struct vcpu *v = vcpu_of_unit(u);

	put_on(v, &v->singleshot, MOVING_SINGLESHOT);
	put_on(v, &v->periodic, MOVING_PERIODIC);
	put_on(v, &v->poll_timer, MOVING_POLL);
}

void vcpu_timer_stop(struct vcpu *v)
{
	timer_disarm(&v->singleshot);
	timer_disarm(&v->periodic);
	timer_disarm(&v->poll_timer);
}
