/* SPDX-License-Identifier: MIT */
/* HYPERVISOR_event_channel_op (ABI: <xen/event_channel.h>): arguments in, operation, results out. */
#include "core/domain.h"
#include "core/hypercall.h"

/* The domain an operation names; ordinary domains may name themselves only. */
static int own_domain(struct domain *cur, domid_t id)
{
	if (id == DOMID_SELF || id == cur->id)
		return 0;
	return domain_by_id(id) ? -XEN_EPERM : -XEN_ESRCH;
}

static long bind_interdomain(struct domain *cur, struct evtchn_bind_interdomain *op)
{
	domid_t id = op->remote_dom == DOMID_SELF ? cur->id : op->remote_dom;
	struct domain *rd = id == cur->id ? cur : domain_by_id(id);

	if (!rd)
		return -XEN_ESRCH;
	return evtchn_bind_interdomain(cur, rd, op->remote_port, &op->local_port);
}

static long alloc_unbound(struct domain *cur, struct evtchn_alloc_unbound *op)
{
	int rc = own_domain(cur, op->dom);

	if (rc)
		return rc;
	return evtchn_alloc_unbound(cur, op->remote_dom == DOMID_SELF ? cur->id : op->remote_dom,
				    &op->port);
}

static long status(struct domain *cur, struct evtchn_status *op)
{
	int rc = own_domain(cur, op->dom);

	return rc ? rc : evtchn_status(cur, op->port, op);
}

static long reset(struct domain *cur, const struct evtchn_reset *op)
{
	int rc = own_domain(cur, op->dom);

	return rc ? rc : evtchn_reset(cur);
}

/* All operations but the two that guests issue all the time. */
static __attribute__((noinline)) long other_op(struct domain *d, uint64_t cmd, uint64_t arg)
{
	union {
		struct evtchn_bind_interdomain bind_interdomain;
		struct evtchn_bind_virq bind_virq;
		struct evtchn_bind_pirq bind_pirq;
		struct evtchn_bind_ipi bind_ipi;
		struct evtchn_close close;
		struct evtchn_status status;
		struct evtchn_alloc_unbound alloc_unbound;
		struct evtchn_bind_vcpu bind_vcpu;
		struct evtchn_reset reset;
		struct evtchn_init_control init_control;
		struct evtchn_expand_array expand_array;
		struct evtchn_set_priority set_priority;
	} u;
	static const uint8_t size[] = {
		[EVTCHNOP_bind_interdomain] = sizeof(u.bind_interdomain),
		[EVTCHNOP_bind_virq] = sizeof(u.bind_virq),
		[EVTCHNOP_bind_pirq] = sizeof(u.bind_pirq),
		[EVTCHNOP_close] = sizeof(u.close),
		[EVTCHNOP_status] = sizeof(u.status),
		[EVTCHNOP_alloc_unbound] = sizeof(u.alloc_unbound),
		[EVTCHNOP_bind_ipi] = sizeof(u.bind_ipi),
		[EVTCHNOP_bind_vcpu] = sizeof(u.bind_vcpu),
		[EVTCHNOP_reset] = sizeof(u.reset),
		[EVTCHNOP_init_control] = sizeof(u.init_control),
		[EVTCHNOP_expand_array] = sizeof(u.expand_array),
		[EVTCHNOP_set_priority] = sizeof(u.set_priority),
	};
	bool out = false;
	long rc;

	if (cmd >= ARRAY_SIZE(size))
		return -XEN_ENOSYS;
	if (copy_from_guest(&u, arg, size[cmd]))
		return -XEN_EFAULT;

	switch (cmd) {
	case EVTCHNOP_bind_interdomain:
		rc = bind_interdomain(d, &u.bind_interdomain);
		out = true;
		break;
	case EVTCHNOP_bind_virq:
		rc = evtchn_bind_virq(d, u.bind_virq.virq, u.bind_virq.vcpu, &u.bind_virq.port);
		out = true;
		break;
	case EVTCHNOP_bind_pirq:
		return -XEN_EINVAL; /* no physical interrupts are given to any domain */
	case EVTCHNOP_close:
		return evtchn_close(d, u.close.port);
	case EVTCHNOP_status:
		rc = status(d, &u.status);
		out = true;
		break;
	case EVTCHNOP_alloc_unbound:
		rc = alloc_unbound(d, &u.alloc_unbound);
		out = true;
		break;
	case EVTCHNOP_bind_ipi:
		rc = evtchn_bind_ipi(d, u.bind_ipi.vcpu, &u.bind_ipi.port);
		out = true;
		break;
	case EVTCHNOP_bind_vcpu:
		return evtchn_bind_vcpu(d, u.bind_vcpu.port, u.bind_vcpu.vcpu);
	case EVTCHNOP_reset:
		return reset(d, &u.reset);
	case EVTCHNOP_init_control:
		rc = evtchn_fifo_init_control(d, &u.init_control);
		out = true;
		break;
	case EVTCHNOP_expand_array:
		return evtchn_fifo_expand_array(d, u.expand_array.array_gfn);
	case EVTCHNOP_set_priority:
		return evtchn_set_priority(d, u.set_priority.port, u.set_priority.priority);
	default:
		return -XEN_ENOSYS;
	}
	/* A result that cannot be stored leaves the port allocated, as in Xen. */
	if (!rc && out && copy_to_guest(arg, &u, size[cmd]))
		rc = -XEN_EFAULT;
	return rc;
}

long do_event_channel_op(uint64_t cmd, uint64_t arg)
{
	struct domain *d = current_vcpu()->domain;
	evtchn_port_t port;

	_Static_assert(sizeof(port) == sizeof(struct evtchn_send) &&
			       sizeof(port) == sizeof(struct evtchn_unmask),
		       "a port is all they have");
	if (cmd != EVTCHNOP_send && cmd != EVTCHNOP_unmask)
		return other_op(d, cmd, arg);
	if (copy_from_guest(&port, arg, sizeof(port)))
		return -XEN_EFAULT;
	return cmd == EVTCHNOP_send ? evtchn_send(d, port) : evtchn_unmask(d, port);
}

/* The hypercall's old form: the command in front of its argument. */
long do_event_channel_op_compat(uint64_t op)
{
	uint32_t cmd;

	if (copy_from_guest(&cmd, op + offsetof(struct evtchn_op, cmd), sizeof(cmd)))
		return -XEN_EFAULT;
	if (cmd > EVTCHNOP_unmask)
		return -XEN_ENOSYS;
	return do_event_channel_op(cmd, op + offsetof(struct evtchn_op, u));
}
