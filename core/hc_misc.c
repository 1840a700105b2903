/* SPDX-License-Identifier: MIT */
/* Small hypercalls: vm_assist, console_io, physdev_op, and those an ordinary domain may not make. */

#include "core/arch.h"
#include "core/domain.h"

#include <xen/physdev.h>

/*
 * What a 64-bit PV guest may switch. Page tables are trapped and emulated in any case, and the M2P,
 * which user mode can read too, is one identity table that tells nothing; so only
 * architectural_iopl and runstate_update_flag make a difference.
 */
#define VM_ASSIST_VALID                                                                    \
	(1UL << VMASST_TYPE_4gb_segments | 1UL << VMASST_TYPE_4gb_segments_notify |        \
	 1UL << VMASST_TYPE_writable_pagetables | 1UL << VMASST_TYPE_pae_extended_cr3 |    \
	 1UL << VMASST_TYPE_architectural_iopl | 1UL << VMASST_TYPE_runstate_update_flag | \
	 1UL << VMASST_TYPE_m2p_strict)

long do_vm_assist(uint64_t cmd, uint64_t type)
{
	struct domain *d = current_vcpu()->domain;
	uint32_t t = (uint32_t)type;

	if (t >= 64 || !(VM_ASSIST_VALID >> t & 1))
		return -XEN_EINVAL;
	switch ((uint32_t)cmd) {
	case VMASST_CMD_enable:
		atomic_fetch_or(&d->vm_assist, 1UL << t);
		return 0;
	case VMASST_CMD_disable:
		atomic_fetch_and(&d->vm_assist, ~(1UL << t));
		return 0;
	default:
		return -XEN_ENOSYS;
	}
}

static long console_write(struct domain *d, uint64_t count, uint64_t buffer)
{
	uint64_t done = 0;
	long rc = console_io_write(d, buffer, count, &done);

	if (rc != -XEN_EAGAIN)
		return rc;
	/* The log is full: let others run, then go on with the rest. */
	sched_yield_current();
	hypercall_set_arg(1, count - done);
	hypercall_set_arg(2, buffer + done);
	return -HC_CONTINUE;
}

long do_console_io(uint64_t cmd, uint64_t count, uint64_t buffer)
{
	struct domain *d = current_vcpu()->domain;

	count = (uint32_t)count;
	if (count > INT32_MAX)
		return -XEN_EINVAL;
	switch ((uint32_t)cmd) {
	case CONSOLEIO_write:
		return console_write(d, count, buffer);
	case CONSOLEIO_read:
		return console_io_read(d, buffer, count);
	default:
		return -XEN_ENOSYS;
	}
}

static long set_iopl(uint64_t arg)
{
	struct physdev_set_iopl op;

	if (copy_from_guest(&op, arg, sizeof(op)))
		return -XEN_EFAULT;
	if (op.iopl > 3)
		return -XEN_EINVAL;
	arch_vcpu_set_iopl(op.iopl);
	return 0;
}

/* No port is open to an ordinary domain, so its user processes' bitmap opens none either. */
static long set_iobitmap(uint64_t arg)
{
	struct physdev_set_iobitmap op;

	if (copy_from_guest(&op, arg, sizeof(op)))
		return -XEN_EFAULT;
	return op.nr_ports > 65536 ? -XEN_EINVAL : 0;
}

long do_physdev_op(uint64_t cmd, uint64_t arg)
{
	switch ((uint32_t)cmd) {
	case PHYSDEVOP_set_iopl:
		return set_iopl(arg);
	case PHYSDEVOP_set_iobitmap:
		return set_iobitmap(arg);
	case PHYSDEVOP_apic_read:
	case PHYSDEVOP_apic_write:
	case PHYSDEVOP_alloc_irq_vector:
	case PHYSDEVOP_map_pirq:
	case PHYSDEVOP_unmap_pirq:
	case PHYSDEVOP_manage_pci_add:
	case PHYSDEVOP_manage_pci_remove:
	case PHYSDEVOP_manage_pci_add_ext:
	case PHYSDEVOP_restore_msi:
		return -XEN_EPERM;
	case PHYSDEVOP_eoi:
	case PHYSDEVOP_irq_status_query:
		return -XEN_EINVAL; /* it has no physical interrupt */
	default:
		return -XEN_ENOSYS;
	}
}

long do_physdev_op_compat(uint64_t op)
{
	uint32_t cmd;

	if (copy_from_guest(&cmd, op + offsetof(struct physdev_op, cmd), sizeof(cmd)))
		return -XEN_EFAULT;
	switch (cmd) {
	case PHYSDEVOP_irq_status_query:
	case PHYSDEVOP_set_iopl:
	case PHYSDEVOP_set_iobitmap:
	case PHYSDEVOP_apic_read:
	case PHYSDEVOP_apic_write:
	case PHYSDEVOP_alloc_irq_vector:
		return do_physdev_op(cmd, op + offsetof(struct physdev_op, u));
	default:
		return -XEN_ENOSYS;
	}
}

/* For the domain that drives the hardware, or that controls others. */
long do_platform_op(uint64_t op)
{
	(void)op;
	return -XEN_EPERM;
}

long do_sysctl(uint64_t op)
{
	(void)op;
	return -XEN_EPERM;
}

long do_domctl(uint64_t op)
{
	(void)op;
	return -XEN_EPERM;
}

/* There are no grants; Linux then goes without a grant table. */
long do_grant_table_op(uint64_t cmd, uint64_t uop, uint64_t count)
{
	(void)cmd;
	(void)uop;
	(void)count;
	return -XEN_ENOSYS;
}
