/* SPDX-License-Identifier: MIT */
/* Xylem's own hypercall; the ABI is core/hc_xylem.h. */
#include "core/hc_xylem.h"

#include "core/arch.h"
#include "core/control.h"
#include "core/domain.h"
#include "core/mem_stats.h"
#include "memsvc/memctl.h"

static long get_memory(struct domain *d, uint64_t arg)
{
	struct {
		uint32_t size, domid;
	} head;
	struct xylem_memory m;

	if (copy_from_guest(&head, arg, sizeof(head)))
		return -XEN_EFAULT;
	if (head.size < sizeof(head))
		return -XEN_EINVAL;
	if (head.domid != DOMID_SELF && head.domid != d->id) {
		if (!d->control)
			return -XEN_EPERM;
		d = head.domid <= MAX_DOMAINS ? domain_by_id((domid_t)head.domid) : NULL;
		if (!d)
			return -XEN_ESRCH;
	}
	mem_stats_of(d, &m);
	m.size = MIN(head.size, (uint32_t)sizeof(m));
	return copy_to_guest(arg, &m, m.size) ? -XEN_EFAULT : 0;
}

static long control(const struct domain *d, uint64_t arg)
{
	struct xylem_control c;

	if (!d->control)
		return -XEN_EPERM;
	if (copy_from_guest(&c, arg, sizeof(c)))
		return -XEN_EFAULT;
	if (c.domid == DOMID_SELF)
		c.domid = d->id;
	return control_apply(&c);
}

long do_arch_7(uint64_t cmd, uint64_t arg)
{
	struct domain *d = current_vcpu()->domain;

	switch ((uint32_t)cmd) {
	case XYLEM_OP_version:
		return XYLEM_ABI_VERSION;
	case XYLEM_OP_balloon:
		return (long)memctl_balloon_target(d);
	case XYLEM_OP_memory:
		return get_memory(d, arg);
	case XYLEM_OP_control:
		return control(d, arg);
	default:
		return -XEN_ENOSYS;
	}
}
