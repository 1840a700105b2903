/* SPDX-License-Identifier: MIT */
/*
 * From a raised port to a vCPU that looks: ABI choice, upcall flag, wake or kick, polls.
 *
 * At most one wake per batch: only the 0 -> 1 transition of evtchn_upcall_pending wakes or kicks;
 * until the guest has cleared the flag, further events find it set.
 * A kick is sent even when the running guest has its upcalls masked: it unmasks with a plain store
 * followed by a load of the flag in the next byte, which the processor may perform in the other
 * order. Only an interruption of the guest settles the race; skipping it could lose the event until
 * the vCPU's next exit.
 *
 * Orders: upcall flag set (seq_cst RMW), then sched_wake() (an RMW on the unit's state); the pCPU
 *   that switches the unit in or blocks it makes its own RMW there before it looks at the flag.
 *   PAIRS: sched_wake.
 */
#include "core/evtchn_internal.h"
#include "core/lib.h"

void vcpu_kick_for_event(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();

	/*
	 * The way back to it looks for events anyway. Current and yet not running: it has blocked
	 * and the exit path has not switched yet.
	 */
	if (v == p->current && sched_is_running(&v->unit))
		return;
	/* Before the vCPU was brought up there is nobody to look; it looks when it starts. */
	if (!atomic_load(&v->is_up))
		return;
	evtchn_poll_end(v);
	sched_wake(&v->unit);
}

static inline void mark_pending(struct vcpu *v)
{
	vcpu_info_t *info = atomic_load(&v->info);

	while (info) {
		vcpu_info_t *now;

		if (!__atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST) &&
		    !__atomic_exchange_n(&info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST))
			vcpu_kick_for_event(v);
		/* PAIRS: ec_info_move */
		now = atomic_load(&v->info);
		if (likely(now == info))
			return;
		info = now;
	}
}

void vcpu_mark_events_pending(struct vcpu *v)
{
	mark_pending(v);
}

void ec_select_word(struct vcpu *v, unsigned sel)
{
	vcpu_info_t *info = atomic_load(&v->info);
	uint64_t bit = 1ULL << sel;

	while (info) {
		vcpu_info_t *now;

		if (!(__atomic_fetch_or(&info->evtchn_pending_sel, bit, __ATOMIC_SEQ_CST) & bit))
			mark_pending(v);
		/* PAIRS: ec_info_move: unless it moved, whoever moves it later marks everything. */
		now = atomic_load(&v->info);
		if (likely(now == info))
			return;
		info = now;
	}
}

/* After a poll, take @v off the senders' mask. Only @v does so: a waker that did could hit the bit
 * of the next poll already. */
static void poll_delist(struct vcpu *v)
{
	if (atomic_load(&v->polling))
		return;
	v->evt.poll_listed = false;
	atomic_fetch_and(&v->domain->evt.poll_mask[v->id / 64], ~(1ULL << v->id % 64));
}

void vcpu_event_backlog(struct vcpu *v)
{
	if (atomic_load(&v->evt.fifo_backlog))
		ec_fifo_backlog(v);
	if (v->evt.poll_listed)
		poll_delist(v);
}

void evtchn_vcpu_init(struct vcpu *v)
{
	for (unsigned i = 0; i < EVTCHN_NR_VIRQS; i++)
		atomic_init(&v->evt.virq[i], 0);
	atomic_init(&v->evt.fifo_backlog, false);
	atomic_init(&v->ports.at, 0);
	atomic_init(&v->ports.low, 0);
}

/*
 * A sender that still uses the old place has set its bits before it looks at v->info again. Either
 * it then sees the new place and repeats there, or the bits it has set in the bitmaps or queues
 * precede the marking of everything below. PAIRS: ec_info_move.
 */
void evtchn_vcpu_info_moved(struct vcpu *v, vcpu_info_t *new_info)
{
	vcpu_info_t *old = atomic_load(&v->info);

	/* Not as a whole: senders set bits in the old one meanwhile. Both are set below anyway. */
	memset(new_info, 0, sizeof(*new_info));
	new_info->evtchn_upcall_mask = 1;
	if (old) {
		new_info->evtchn_upcall_mask = old->evtchn_upcall_mask;
		new_info->arch = old->arch;
		new_info->time = old->time;
	}
	/* PAIRS: ec_info_move */
	atomic_store(&v->info, new_info);
	__atomic_store_n(&new_info->evtchn_pending_sel, ~0UL, __ATOMIC_SEQ_CST);
	__atomic_store_n(&new_info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST);
	vcpu_kick_for_event(v);
}

static bool anyone_polls(struct domain *d)
{
	uint64_t any = 0;

	/* PAIRS: ec_poll */
	for (unsigned w = 0; w < ARRAY_SIZE(d->evt.poll_mask); w++)
		any |= atomic_load(&d->evt.poll_mask[w]);
	return any;
}

/*
 * The ABI can change under a sender (init_control, reset). Who changes it stores the new value and
 * then carries over what is pending in the old one; a sender raises, then looks again: one of the
 * two sees the other. PAIRS: ec_abi.
 */
static inline __attribute__((always_inline)) void raise(struct domain *d, struct evtchn *e,
							evtchn_port_t port, unsigned vcpu)
{
	uint32_t abi = atomic_load_explicit(&d->evt.abi, memory_order_acquire), now;
	struct vcpu *v = ec_domain_vcpu(d, vcpu);
	bool newly;

	if (!v)
		return;
	for (;; abi = now) {
		newly = abi == EVTCHN_ABI_2L ? ec_2l_set_pending(d, v, port)
					     : ec_fifo_set_pending(d, e, port);
		/* PAIRS: ec_abi */
		now = atomic_load(&d->evt.abi);
		if (likely(now == abi))
			break;
	}
	if (newly && unlikely(anyone_polls(d)))
		evtchn_poll_wake(d, port);
}

void ec_raise(struct domain *d, struct evtchn *e, evtchn_port_t port, unsigned vcpu)
{
	raise(d, e, port, vcpu);
}

int evtchn_send(struct domain *d, evtchn_port_t port)
{
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;
	evtchn_port_t to = port;
	domid_t self = d->id;
	uint64_t w;

	if (!e)
		return -XEN_EINVAL;
	w = atomic_load_explicit(&e->state, memory_order_acquire);
	switch (ec_kind(w)) {
	case EC_IPI:
		break;
	case EC_INTERDOMAIN:
		to = ec_port(w);
		d = ec_dom(w) == self ? d : domain_by_id(ec_dom(w));
		e = d ? ec_lookup(d, to) : NULL;
		if (!e)
			return 0;
		w = atomic_load_explicit(&e->state, memory_order_acquire);
		/* L1 of core/evtchn.c */
		if (ec_kind(w) != EC_INTERDOMAIN || ec_dom(w) != self || ec_port(w) != port)
			return 0;
		break;
	case EC_HYP:
		atomic_load_explicit(&e->hyp_fn, memory_order_relaxed)(d, port);
		return 0;
	case EC_UNBOUND:
		return 0; /* nobody there yet */
	default:
		return -XEN_EINVAL;
	}
	raise(d, e, to, ec_vcpu(w));
	return 0;
}

void ec_clear_pending(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	if (atomic_load(&d->evt.abi) == EVTCHN_ABI_2L)
		ec_2l_clear_pending(d, port);
	else
		ec_fifo_clear_pending(d, e, port);
}

int evtchn_unmask(struct domain *d, evtchn_port_t port)
{
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;
	struct vcpu *v;

	if (!e)
		return -XEN_EINVAL;
	v = ec_domain_vcpu(d, ec_vcpu(atomic_load(&e->state)));
	if (atomic_load(&d->evt.abi) == EVTCHN_ABI_FIFO)
		ec_fifo_unmask(d, e, port);
	else if (v)
		ec_2l_unmask(d, v, port);
	return 0;
}

/* ---- SCHEDOP_poll ---- */

bool evtchn_port_pending(struct vcpu *v, evtchn_port_t port)
{
	struct domain *d = v->domain;
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;

	if (atomic_load(&d->evt.abi) == EVTCHN_ABI_2L)
		return ec_2l_is_pending(d, port);
	return e && ec_fifo_is_pending(d, e, port);
}

/*
 * Poller: ports, polling = 1, bit in poll_mask, then check of the pending bits. Sender: pending
 * bit, then poll_mask. All seq_cst: either the check sees the event, or the sender sees the bit (and
 * with it the ports, released by `polling`). PAIRS: ec_poll. A sender that reads a list just being
 * replaced can wake too early, which the ABI allows.
 */
int evtchn_poll_begin(struct vcpu *v, const evtchn_port_t *ports, unsigned nr)
{
	struct domain *d = v->domain;

	if (nr > ARRAY_SIZE(v->poll_ports))
		return -XEN_EINVAL;
	for (unsigned i = 0; i < nr; i++)
		if (!evtchn_port_valid(d, ports[i]))
			return -XEN_EINVAL;
	for (unsigned i = 0; i < nr; i++)
		__atomic_store_n(&v->poll_ports[i], ports[i], __ATOMIC_RELAXED);
	__atomic_store_n(&v->poll_nr, nr, __ATOMIC_RELAXED);
	atomic_store(&v->polling, 1);
	v->evt.poll_listed = true;
	/* PAIRS: ec_poll */
	atomic_fetch_or(&d->evt.poll_mask[v->id / 64], 1ULL << v->id % 64);
	return 0;
}

bool evtchn_poll_end(struct vcpu *v)
{
	uint32_t was = 1;

	return atomic_load_explicit(&v->polling, memory_order_relaxed) &&
	       atomic_compare_exchange_strong(&v->polling, &was, 0);
}

static bool polls(struct vcpu *v, evtchn_port_t port)
{
	unsigned nr = __atomic_load_n(&v->poll_nr, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < nr && i < ARRAY_SIZE(v->poll_ports); i++)
		if (__atomic_load_n(&v->poll_ports[i], __ATOMIC_RELAXED) == port)
			return true;
	return false;
}

void evtchn_poll_wake(struct domain *d, evtchn_port_t port)
{
	for (unsigned w = 0; w < ARRAY_SIZE(d->evt.poll_mask); w++) {
		/* PAIRS: ec_poll */
		uint64_t mask = atomic_load(&d->evt.poll_mask[w]);

		for (; mask; mask &= mask - 1) {
			struct vcpu *v = ec_domain_vcpu(d, w * 64 + __builtin_ctzll(mask));

			if (v && atomic_load(&v->polling) && polls(v, port) && evtchn_poll_end(v))
				sched_wake(&v->unit);
		}
	}
}
