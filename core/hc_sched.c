/* SPDX-License-Identifier: MIT */
/* HYPERVISOR_sched_op and set_timer_op (ABI: <xen/sched.h>, <xen/vcpu.h>). */

#include "core/arch.h"
#include "core/domain.h"
#include "core/vcpu_timer.h"

#include <xen/sched.h>

#define POLL_MAX_PORTS ARRAY_SIZE(((struct vcpu *)0)->poll_ports)

/*
 * Block until an event is pending, enabling events. An event that comes after the check finds the
 * unit blocked or makes sched_block_current() fail, in which case the check is made again.
 */
static long op_block(struct vcpu *v)
{
	vcpu_info_t *vi = atomic_load_explicit(&v->info, memory_order_relaxed);

	if (vi)
		__atomic_store_n(&vi->evtchn_upcall_mask, 0, __ATOMIC_SEQ_CST);
	do {
		if (vcpu_event_pending(v))
			return 0;
	} while (!sched_block_current());
	return 0;
}

static bool poll_done(struct vcpu *v, const evtchn_port_t *ports, unsigned nr)
{
	if (vcpu_event_pending(v) || !atomic_load_explicit(&v->polling, memory_order_acquire))
		return true;
	for (unsigned i = 0; i < nr; i++)
		if (evtchn_port_pending(v, ports[i]))
			return true;
	return false;
}

static long op_poll(struct vcpu *v, uint64_t arg)
{
	evtchn_port_t ports[POLL_MAX_PORTS];
	struct sched_poll poll;
	int rc;

	if (copy_from_guest(&poll, arg, sizeof(poll)))
		return -XEN_EFAULT;
	if (poll.nr_ports > POLL_MAX_PORTS)
		return -XEN_EINVAL;
	if (poll.nr_ports &&
	    copy_from_guest(ports, (uint64_t)poll.ports.p, poll.nr_ports * sizeof(ports[0])))
		return -XEN_EFAULT;
	timer_disarm(&v->poll_timer); /* of an earlier poll that an event ended */
	rc = evtchn_poll_begin(v, ports, poll.nr_ports);
	if (rc)
		return rc;
	do {
		if (poll_done(v, ports, poll.nr_ports)) {
			evtchn_poll_end(v);
			return 0;
		}
	} while (!sched_block_current());
	if (poll.timeout)
		timer_arm(&v->poll_timer, poll.timeout);
	return 0;
}

static long op_shutdown(struct domain *d, uint32_t reason)
{
	static const enum domain_end ends[] = {
		[SHUTDOWN_poweroff] = END_OFF,	    [SHUTDOWN_reboot] = END_REBOOT,
		[SHUTDOWN_suspend] = END_SUSPEND,   [SHUTDOWN_crash] = END_CRASH,
		[SHUTDOWN_watchdog] = END_WATCHDOG, [SHUTDOWN_soft_reset] = END_REBOOT,
	};
	uint32_t set;

	/* A code set beforehand by SCHEDOP_shutdown_code has precedence. */
	set = atomic_load_explicit(&d->shutdown_code, memory_order_relaxed);
	if (set != SHUTDOWN_CODE_NONE)
		reason = set;
	if (reason > SHUTDOWN_MAX)
		return -XEN_EINVAL;
	domain_end(d, ends[reason], NULL);
	return 0;
}

static long op_shutdown_code(struct domain *d, uint32_t reason)
{
	if (reason > SHUTDOWN_MAX)
		return -XEN_EINVAL;
	atomic_store_explicit(&d->shutdown_code, reason, memory_order_relaxed);
	return 0;
}

/* Ids are 1 and 2; id 0 asks for a free one. */
static long op_watchdog(struct domain *d, const struct sched_watchdog *w)
{
	uint64_t expiry = arch_now_ns() + w->timeout * NS_PER_SEC;
	uint32_t id = w->id;

	if (id > DOMAIN_WATCHDOGS)
		return -XEN_EINVAL;
	if (id == 0) {
		if (w->timeout == 0)
			return -XEN_EINVAL;
		for (unsigned i = 0; i < DOMAIN_WATCHDOGS; i++) {
			uint64_t none = 0;

			if (atomic_compare_exchange_strong(&d->watchdog_ns[i], &none, expiry)) {
				domain_watchdog_changed(d);
				return (long)i + 1;
			}
		}
		return -XEN_ENOSPC;
	}
	if (!atomic_load(&d->watchdog_ns[id - 1]))
		return -XEN_EINVAL;
	atomic_store(&d->watchdog_ns[id - 1], w->timeout ? expiry : 0);
	domain_watchdog_changed(d);
	return 0;
}

long do_sched_op(uint64_t cmd, uint64_t arg)
{
	struct vcpu *v = current_vcpu();
	struct sched_shutdown sd;
	struct sched_remote_shutdown rs;
	struct sched_watchdog w;

	switch ((uint32_t)cmd) {
	case SCHEDOP_yield:
		sched_yield_current();
		return 0;
	case SCHEDOP_block:
		return op_block(v);
	case SCHEDOP_poll:
		return op_poll(v, arg);
	case SCHEDOP_shutdown:
		if (copy_from_guest(&sd, arg, sizeof(sd)))
			return -XEN_EFAULT;
		return op_shutdown(v->domain, sd.reason);
	case SCHEDOP_shutdown_code:
		if (copy_from_guest(&sd, arg, sizeof(sd)))
			return -XEN_EFAULT;
		return op_shutdown_code(v->domain, sd.reason);
	case SCHEDOP_remote_shutdown:
		if (copy_from_guest(&rs, arg, sizeof(rs)))
			return -XEN_EFAULT;
		return domain_by_id(rs.domain_id) ? -XEN_EPERM : -XEN_ESRCH;
	case SCHEDOP_watchdog:
		if (copy_from_guest(&w, arg, sizeof(w)))
			return -XEN_EFAULT;
		return op_watchdog(v->domain, &w);
	case SCHEDOP_pin_override:
		return -XEN_EPERM; /* for the domain that drives the hardware */
	default:
		return -XEN_ENOSYS;
	}
}

/* The oldest interface: the argument is a value, and only these commands exist. */
long do_sched_op_compat(uint64_t cmd, uint64_t arg)
{
	switch ((uint32_t)cmd) {
	case SCHEDOP_yield:
	case SCHEDOP_block:
		return do_sched_op(cmd, arg);
	case SCHEDOP_shutdown:
		return op_shutdown(current_vcpu()->domain, (uint32_t)arg);
	default:
		return -XEN_ENOSYS;
	}
}

long do_set_timer_op(uint64_t timeout)
{
	vcpu_timer_set(current_vcpu(), timeout);
	return 0;
}
