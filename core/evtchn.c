/* SPDX-License-Identifier: MIT */
/*
 * Ports and links: who may make, close, and send on what. No lock: every change is a CAS on one
 * port's state word, and a link exists while both ends name each other.
 *
 * Invariants:
 *  L1 A link is two INTERDOMAIN words that name each other. A send on one end raises the other only
 *     after it has seen both words, so a half-made or half-closed link carries nothing.
 *  L2 Words change along the transitions of enum evtchn_kind only; RESERVED, BINDING and CLOSING
 *     belong to the operation that set them, except that the closer of the end which a BINDING word
 *     names may make it UNBOUND.
 *  L3 A port becomes FREE only after no other port names it: its closer has first turned the peer
 *     into UNBOUND, or has seen the peer CLOSING as well (that one becomes FREE itself).
 *
 * bind_interdomain(l, r): l RESERVED -> BINDING(r); r UNBOUND(l's domain) -> INTERDOMAIN(l), the
 *   linearization point; l BINDING -> INTERDOMAIN(r). If the last CAS fails, r was closed meanwhile
 *   and its closer has made l UNBOUND: bind, then close. Events that r's domain sent before the last
 *   step are dropped by L1; l is raised once at the end to stand for them (as in Xen).
 * close(a) of a link a-b: a -> CLOSING, the linearization point; b INTERDOMAIN(a) or BINDING(a) ->
 *   UNBOUND(a's domain); pending bits of a cleared; a -> FREE. Both ends closed at once: each sees
 *   the other CLOSING and leaves it alone.
 * A send that overlaps a close of the receiving end may leave a spurious event on that port (or
 *   on its next use); the ABI lets events be spurious.
 * ABA: words carry a generation of allocations; a CAS succeeds only on the word that was examined.
 * Orders: all CAS are seq_cst. A BINDING word is visible before the peer's word names it, because
 *   both are changed by the binder in this order. PAIRS: ec_link. Records: PAIRS: ec_reuse.
 */
#include "core/evtchn_internal.h"
#include "core/hypercall.h"

static bool virq_is_global(unsigned virq)
{
	switch (virq) {
	case VIRQ_TIMER:
	case VIRQ_DEBUG:
	case VIRQ_XENOPROF:
	case VIRQ_XENPMU:
		return false;
	default:
		return true;
	}
}

/* Give a reserved port its kind. */
static void become(struct evtchn *e, enum evtchn_kind kind, unsigned vcpu, domid_t dom,
		   evtchn_port_t port)
{
	uint64_t w = atomic_load_explicit(&e->state, memory_order_relaxed);

	atomic_store(&e->state, ec_word(w, kind, vcpu, dom, port));
}

int evtchn_alloc_unbound(struct domain *d, domid_t remote, evtchn_port_t *port)
{
	struct evtchn *e;
	int rc = ec_alloc(d, &e, port);

	if (!rc)
		become(e, EC_UNBOUND, 0, remote, 0);
	return rc;
}

int evtchn_alloc_hyp(struct domain *d, domid_t remote, evtchn_hyp_fn fn, evtchn_port_t *port)
{
	struct evtchn *e;
	int rc = ec_alloc(d, &e, port);

	if (rc)
		return rc;
	atomic_store_explicit(&e->hyp_fn, fn, memory_order_relaxed);
	become(e, EC_HYP, 0, remote, 0);
	return 0;
}

/* r UNBOUND(ld) -> INTERDOMAIN(ld, lport); false when it is not waiting for ld (any more). */
static bool claim_unbound(struct domain *ld, evtchn_port_t lport, struct evtchn *re)
{
	uint64_t w = atomic_load(&re->state);
	CAS_LOOP(loop, "event channel, bind");

	do {
		if (ec_kind(w) != EC_UNBOUND || ec_dom(w) != ld->id)
			return false;
		/* PAIRS: ec_link */
	} while (!atomic_compare_exchange_weak(
			 &re->state, &w, ec_word(w, EC_INTERDOMAIN, ec_vcpu(w), ld->id, lport)) &&
		 retry(&loop));
	return true;
}

int evtchn_bind_interdomain(struct domain *ld, struct domain *rd, evtchn_port_t rport,
			    evtchn_port_t *lport)
{
	struct evtchn *re = rport ? ec_lookup(rd, rport) : NULL, *le;
	uint64_t w;
	int rc;

	if (!re || atomic_load_explicit(&rd->evt.dying, memory_order_relaxed))
		return -XEN_EINVAL;
	rc = ec_alloc(ld, &le, lport);
	if (rc)
		return rc;
	become(le, EC_BINDING, 0, rd->id, rport);
	w = atomic_load_explicit(&le->state, memory_order_relaxed);
	/* PAIRS: ec_link: from the claim on, the closer of the other end may look at ours. */
	if (!claim_unbound(ld, *lport, re)) {
		ec_free(ld, le, *lport);
		return -XEN_EINVAL;
	}
	if (atomic_compare_exchange_strong(&le->state, &w,
					   ec_word(w, EC_INTERDOMAIN, 0, rd->id, rport)))
		ec_raise(ld, le, *lport, 0);
	return 0;
}

int evtchn_bind_virq(struct domain *d, unsigned virq, unsigned vcpu, evtchn_port_t *port)
{
	uint32_t none = 0;
	struct vcpu *v;
	struct evtchn *e;
	int rc;

	if (virq >= EVTCHN_NR_VIRQS || (virq_is_global(virq) && vcpu))
		return -XEN_EINVAL;
	v = ec_domain_vcpu(d, vcpu);
	if (!v)
		return -XEN_ENOENT;
	if (atomic_load(&v->evt.virq[virq]))
		return -XEN_EEXIST;
	rc = ec_alloc(d, &e, port);
	if (rc)
		return rc;
	/* The slot goes to one binder; a VIRQ raised before the word says EC_VIRQ is dropped. */
	if (!atomic_compare_exchange_strong(&v->evt.virq[virq], &none, *port)) {
		ec_free(d, e, *port);
		return -XEN_EEXIST;
	}
	become(e, EC_VIRQ, vcpu, 0, virq);
	return 0;
}

int evtchn_bind_ipi(struct domain *d, unsigned vcpu, evtchn_port_t *port)
{
	struct evtchn *e;
	int rc;

	if (!ec_domain_vcpu(d, vcpu))
		return -XEN_ENOENT;
	rc = ec_alloc(d, &e, port);
	if (!rc)
		become(e, EC_IPI, vcpu, 0, 0);
	return rc;
}

/* The end (d, port) is being closed: its peer waits for a new one. */
static void unlink_peer(struct domain *d, evtchn_port_t port, domid_t rdom, evtchn_port_t rport)
{
	struct domain *rd = rdom == d->id ? d : domain_by_id(rdom);
	struct evtchn *re = rd ? ec_lookup(rd, rport) : NULL;
	uint64_t w;
	CAS_LOOP(loop, "event channel, unlink the peer");

	if (!re)
		return;
	w = atomic_load(&re->state);
	do {
		if ((ec_kind(w) != EC_INTERDOMAIN && ec_kind(w) != EC_BINDING) ||
		    ec_dom(w) != d->id || ec_port(w) != port)
			return;
		/* PAIRS: ec_link */
	} while (!atomic_compare_exchange_weak(&re->state, &w,
					       ec_word(w, EC_UNBOUND, ec_vcpu(w), d->id, 0)) &&
		 retry(&loop));
}

static int close_record(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	uint64_t w = atomic_load(&e->state);
	CAS_LOOP(loop, "event channel, close");

	do {
		if (ec_kind(w) == EC_FREE || ec_kind(w) == EC_RESERVED ||
		    ec_kind(w) == EC_BINDING || ec_kind(w) == EC_CLOSING)
			return -XEN_EINVAL;
	} while (
		!atomic_compare_exchange_weak(
			&e->state, &w, ec_word(w, EC_CLOSING, ec_vcpu(w), ec_dom(w), ec_port(w))) &&
		retry(&loop));
	retry_done(&loop);

	if (ec_kind(w) == EC_INTERDOMAIN) {
		unlink_peer(d, port, ec_dom(w), ec_port(w));
	} else if (ec_kind(w) == EC_VIRQ) {
		unsigned virq = ec_port(w), at = virq_is_global(virq) ? 0 : ec_vcpu(w);

		atomic_store(&d->vcpu[at]->evt.virq[virq], 0);
	}
	ec_clear_pending(d, e, port);
	ec_free(d, e, port);
	return 0;
}

int evtchn_close(struct domain *d, evtchn_port_t port)
{
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;

	return e ? close_record(d, e, port) : -XEN_EINVAL;
}

static int close_any(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	close_record(d, e, port);
	return 0;
}

static void now_quiet(struct rcu_head *head)
{
	struct evtchn_dom *evt = container_of(head, struct evtchn_dom, rcu);

	atomic_store(&evt->quiet, true);
}

bool evtchn_teardown(struct domain *d)
{
	if (!atomic_exchange(&d->evt.dying, true)) {
		ec_for_each(d, close_any);
		call_rcu_hurry(&d->evt.rcu, now_quiet);
	}
	return atomic_load(&d->evt.quiet);
}

static int close_for_reset(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	if (ec_kind(atomic_load(&e->state)) == EC_HYP || close_record(d, e, port))
		return 0;
	/* Each call closes at least one; those closed are passed over quickly the next time. */
	return preempt_pending() ? -HC_CONTINUE : 0;
}

static int raise_hyp(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	uint64_t w = atomic_load(&e->state);

	if (ec_kind(w) == EC_HYP)
		ec_raise(d, e, port, ec_vcpu(w));
	return 0;
}

int evtchn_reset(struct domain *d)
{
	int rc = ec_for_each(d, close_for_reset);

	if (rc)
		return rc;
	ec_restart(d);
	ec_fifo_detach(d);
	/* What was pending there in the old ABI is not known: let the guest look. */
	ec_for_each(d, raise_hyp);
	return 0;
}

int evtchn_status(struct domain *d, evtchn_port_t port, struct evtchn_status *st)
{
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;
	uint64_t w;

	if (!e)
		return -XEN_EINVAL;
	w = atomic_load(&e->state);
	switch (ec_kind(w)) {
	case EC_UNBOUND:
		st->status = EVTCHNSTAT_unbound;
		st->u.unbound.dom = ec_dom(w);
		break;
	case EC_INTERDOMAIN:
	case EC_HYP:
		st->status = EVTCHNSTAT_interdomain;
		st->u.interdomain.dom = ec_dom(w);
		st->u.interdomain.port = ec_port(w);
		break;
	case EC_VIRQ:
		st->status = EVTCHNSTAT_virq;
		st->u.virq = ec_port(w);
		break;
	case EC_IPI:
		st->status = EVTCHNSTAT_ipi;
		break;
	default:
		st->status = EVTCHNSTAT_closed;
		break;
	}
	st->vcpu = ec_vcpu(w);
	return 0;
}

int evtchn_bind_vcpu(struct domain *d, evtchn_port_t port, unsigned vcpu)
{
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;
	uint64_t w;
	CAS_LOOP(loop, "event channel, move to a vCPU");

	if (!ec_domain_vcpu(d, vcpu))
		return -XEN_ENOENT;
	if (!e)
		return -XEN_EINVAL;
	w = atomic_load(&e->state);
	do {
		enum evtchn_kind k = ec_kind(w);

		if (k != EC_UNBOUND && k != EC_INTERDOMAIN && k != EC_HYP &&
		    !(k == EC_VIRQ && virq_is_global(ec_port(w))))
			return -XEN_EINVAL;
	} while (!atomic_compare_exchange_weak(
			 &e->state, &w, ec_word(w, ec_kind(w), vcpu, ec_dom(w), ec_port(w))) &&
		 retry(&loop));
	return 0;
}

int evtchn_set_priority(struct domain *d, evtchn_port_t port, uint32_t priority)
{
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;

	if (!e)
		return -XEN_EINVAL;
	if (atomic_load(&d->evt.abi) != EVTCHN_ABI_FIFO)
		return -XEN_ENOSYS;
	if (priority > EVTCHN_FIFO_PRIORITY_MIN)
		return -XEN_EINVAL;
	atomic_store_explicit(&e->priority, priority, memory_order_relaxed);
	return 0;
}

/* Raise what @virq is bound to at @v, if it still is. */
static void raise_virq(struct vcpu *v, unsigned virq)
{
	struct domain *d = v->domain;
	evtchn_port_t port = atomic_load_explicit(&v->evt.virq[virq], memory_order_acquire);
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;
	uint64_t w;

	if (!e)
		return;
	w = atomic_load_explicit(&e->state, memory_order_acquire);
	if (ec_kind(w) == EC_VIRQ && ec_port(w) == virq)
		ec_raise(d, e, port, ec_vcpu(w));
}

void send_guest_vcpu_virq(struct vcpu *v, unsigned virq)
{
	BUG_ON(virq >= EVTCHN_NR_VIRQS);
	raise_virq(v, virq);
}

void send_guest_global_virq(struct domain *d, unsigned virq)
{
	BUG_ON(virq >= EVTCHN_NR_VIRQS);
	if (d->vcpu[0])
		raise_virq(d->vcpu[0], virq);
}

void send_global_virq(unsigned virq)
{
	struct domain *d = domain_by_id(0);

	if (d)
		send_guest_global_virq(d, virq);
}

void evtchn_notify_hyp_port(struct domain *d, evtchn_port_t port)
{
	struct evtchn *e = port ? ec_lookup(d, port) : NULL;

	if (e)
		raise_hyp(d, e, port);
}
