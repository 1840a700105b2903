/* SPDX-License-Identifier: MIT */
/* Upcall masking, dispatch, and the 2-level ABI; fifo.c has the other one. */
#include "rt/event.h"
#include "rt/fifo.h"
#include "rt/hypercall.h"
#include "rt/smp.h"
#include <stdatomic.h>

struct shared_info *shared_info;

static struct {
	_Atomic event_fn fn;
	void *arg;
} handlers[MAX_PORTS];

void events_mask(void)
{
	this_cpu()->vi->evtchn_upcall_mask = 1;
	barrier();
}

void events_unmask(void)
{
	struct vcpu_info *vi = this_cpu()->vi;

	barrier();
	vi->evtchn_upcall_mask = 0;
	barrier();
	/* Any hypercall delivers what became pending while masked. */
	if (vi->evtchn_upcall_pending)
		hc_version(XENVER_version, NULL);
}

bool events_save_mask(void)
{
	bool was = this_cpu()->vi->evtchn_upcall_mask;

	events_mask();
	return was;
}

void events_restore_mask(bool was)
{
	if (!was)
		events_unmask();
}

static void dispatch(uint32_t port)
{
	event_fn fn = port < MAX_PORTS ? handlers[port].fn : NULL;

	if (fn)
		fn(port, handlers[port].arg);
}

static _Atomic xen_ulong_t *pending_word(uint32_t port)
{
	return (_Atomic xen_ulong_t *)&shared_info->evtchn_pending[port / 64];
}

static _Atomic xen_ulong_t *mask_word(uint32_t port)
{
	return (_Atomic xen_ulong_t *)&shared_info->evtchn_mask[port / 64];
}

/* A word of pending ports has those of other vCPUs, too: they are theirs to handle. */
static uint16_t port_vcpu[MAX_PORTS];

static long bound(long rc, uint32_t port, uint32_t vcpu)
{
	if (rc)
		return rc;
	/* Each vCPU binds ports of its own range: the first of one may be above all of the others. */
	if (events_fifo)
		rc = fifo_reach(port);
	if (rc) {
		event_close(port);
		return rc;
	}
	if (port < MAX_PORTS)
		port_vcpu[port] = (uint16_t)vcpu;
	return port;
}

static xen_ulong_t mine(uint32_t first, xen_ulong_t bits)
{
	xen_ulong_t own = 0;

	for (; bits; bits &= bits - 1) {
		uint32_t port = first + (uint32_t)__builtin_ctzl(bits);

		if (port >= MAX_PORTS || port_vcpu[port] == this_cpu()->id)
			own |= bits & -bits;
	}
	return own;
}

static void handle_2l(struct vcpu_info *vi)
{
	xen_ulong_t sel = atomic_exchange((_Atomic xen_ulong_t *)&vi->evtchn_pending_sel, 0);

	for (; sel; sel &= sel - 1) {
		uint32_t w = (uint32_t)__builtin_ctzl(sel);
		xen_ulong_t bits;

		while ((bits = mine(w * 64, atomic_load(pending_word(w * 64)) &
						    ~atomic_load(mask_word(w * 64))))) {
			uint32_t port = w * 64 + (uint32_t)__builtin_ctzl(bits);

			event_clear(port);
			dispatch(port);
		}
	}
}

/* From entry.S; events are masked. */
void event_handler(void *regs)
{
	struct cpu *c = this_cpu();

	(void)regs;
	atomic_fetch_add(&c->upcalls, 1); /* before a handler is looked up; PAIRS: unhandle */
	while (atomic_exchange((_Atomic uint8_t *)&c->vi->evtchn_upcall_pending, 0)) {
		if (events_fifo)
			fifo_handle(c, dispatch);
		else
			handle_2l(c->vi);
	}
	atomic_fetch_add(&c->upcalls, 1);
}

void events_init(void)
{
	for (unsigned int i = 0; i < 64; i++)
		shared_info->evtchn_mask[i] = ~0UL;
}

void event_handle(uint32_t port, event_fn fn, void *arg)
{
	handlers[port].arg = arg;
	atomic_store(&handlers[port].fn, fn);
}

void event_unhandle(uint32_t port)
{
	struct cpu *c = cpus[port_vcpu[port]];
	unsigned long spins = 0, seen;

	atomic_store(&handlers[port].fn, NULL);
	/* Who looked it up before is in an upcall now. PAIRS: unhandle */
	seen = atomic_load(&c->upcalls);
	while (seen % 2 && atomic_load(&c->upcalls) == seen)
		spin_wait(&spins);
}

void event_mask(uint32_t port)
{
	if (events_fifo)
		fifo_mask(port);
	else
		atomic_fetch_or(mask_word(port), 1UL << (port % 64));
}

long event_unmask(uint32_t port)
{
	struct evtchn_unmask u = {.port = port};

	return hc_evtchn(EVTCHNOP_unmask, &u);
}

bool event_pending(uint32_t port)
{
	if (events_fifo)
		return fifo_pending(port);
	return atomic_load(pending_word(port)) >> (port % 64) & 1;
}

bool event_masked(uint32_t port)
{
	if (events_fifo)
		return fifo_masked(port);
	return atomic_load(mask_word(port)) >> (port % 64) & 1;
}

void event_clear(uint32_t port)
{
	if (events_fifo)
		fifo_clear(port);
	else
		atomic_fetch_and(pending_word(port), ~(1UL << (port % 64)));
}

long event_bind_virq(uint32_t virq, uint32_t vcpu)
{
	struct evtchn_bind_virq b = {.virq = virq, .vcpu = vcpu};
	long rc = hc_evtchn(EVTCHNOP_bind_virq, &b);

	return bound(rc, b.port, vcpu);
}

long event_bind_ipi(uint32_t vcpu)
{
	struct evtchn_bind_ipi b = {.vcpu = vcpu};
	long rc = hc_evtchn(EVTCHNOP_bind_ipi, &b);

	return bound(rc, b.port, vcpu);
}

long event_alloc_unbound(domid_t remote)
{
	struct evtchn_alloc_unbound a = {.dom = DOMID_SELF, .remote_dom = remote};
	long rc = hc_evtchn(EVTCHNOP_alloc_unbound, &a);

	return bound(rc, a.port, 0);
}

long event_bind_interdomain(domid_t remote, uint32_t remote_port)
{
	struct evtchn_bind_interdomain b = {.remote_dom = remote, .remote_port = remote_port};
	long rc = hc_evtchn(EVTCHNOP_bind_interdomain, &b);

	return bound(rc, b.local_port, 0);
}

long event_send(uint32_t port)
{
	struct evtchn_send s = {.port = port};

	return hc_evtchn(EVTCHNOP_send, &s);
}

long event_close(uint32_t port)
{
	struct evtchn_close c = {.port = port};

	return hc_evtchn(EVTCHNOP_close, &c);
}

long event_set_priority(uint32_t port, uint32_t prio)
{
	struct evtchn_set_priority p = {.port = port, .priority = prio};

	return hc_evtchn(EVTCHNOP_set_priority, &p);
}

long event_bind_vcpu(uint32_t port, uint32_t vcpu)
{
	struct evtchn_bind_vcpu b = {.port = port, .vcpu = vcpu};
	bool masked;
	long rc;

	if (events_fifo || port >= MAX_PORTS)
		return hc_evtchn(EVTCHNOP_bind_vcpu, &b);
	masked = event_masked(port);
	/* What is pending by now is told to the new owner by the unmasking. */
	event_mask(port);
	rc = hc_evtchn(EVTCHNOP_bind_vcpu, &b);
	if (!rc)
		bound(0, port, vcpu);
	if (!masked)
		event_unmask(port);
	return rc;
}
