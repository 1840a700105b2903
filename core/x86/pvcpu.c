/* SPDX-License-Identifier: MIT */
/* Hypercalls that set up a vCPU's traps, callbacks, stack, FPU flag and debug registers. */
#include <arch/x86.h>

#include "core/arch.h"
#include "core/hypercall.h"
#include "core/lib.h"
#include "core/x86/fpu.h"
#include "core/x86/pv.h"
#include "core/x86/pvcpu.h"
#include "core/x86/uaccess.h"
#include "core/xen_errno.h"

#include <xen/callback.h>
#include <xen/nmi.h>

static bool code_address_ok(uint64_t eip)
{
	return guest_range_ok(eip, 1);
}

/* Where the handler of @vector is or may be put; NULL: there is no room for one more. */
static struct trap_info *trap_slot(struct arch_vcpu *a, uint8_t vector)
{
	if (vector < ARRAY_SIZE(a->low_traps))
		return &a->low_traps[vector];
	if (a->traps)
		return &a->traps[vector];
	for (unsigned i = 0; i < ARRAY_SIZE(a->int_traps); i++)
		if (!a->int_traps[i].address || a->int_traps[i].vector == vector)
			return &a->int_traps[i];
	return NULL;
}

static int traps_page(struct arch_vcpu *a)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);

	if (!mfn_valid_value(m))
		return -XEN_ENOMEM;
	a->traps = arch_mfn_to_virt(m);
	for (unsigned i = 0; i < ARRAY_SIZE(a->int_traps); i++)
		a->traps[a->int_traps[i].vector] = a->int_traps[i];
	return 0;
}

const struct trap_info *pv_trap(struct vcpu *v, uint8_t vector)
{
	static const struct trap_info none;
	const struct trap_info *ti = trap_slot(&v->arch, vector);

	return ti ? ti : &none;
}

int pv_set_trap(struct vcpu *v, const struct trap_info *ti)
{
	struct trap_info *to = trap_slot(&v->arch, ti->vector);

	if (!to && traps_page(&v->arch))
		return -XEN_ENOMEM;
	to = to ? to : trap_slot(&v->arch, ti->vector);
	*to = *ti;
	to->cs |= 3;
	return 0;
}

void pv_clear_traps(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	memset(a->low_traps, 0, sizeof(a->low_traps));
	memset(a->int_traps, 0, sizeof(a->int_traps));
	if (a->traps)
		page_free(arch_virt_to_mfn(a->traps));
	a->traps = NULL;
}

long do_set_trap_table(uint64_t traps)
{
	struct vcpu *v = current_vcpu();
	struct trap_info ti;

	if (!traps) {
		pv_clear_traps(v);
		return 0;
	}
	for (unsigned n = 0; n < 257; n++, traps += sizeof(ti)) {
		if (copy_from_guest(&ti, traps, sizeof(ti)))
			return -XEN_EFAULT;
		if (!ti.address)
			return 0;
		if (!code_address_ok(ti.address))
			return -XEN_EINVAL;
		if (pv_set_trap(v, &ti))
			return -XEN_ENOMEM;
	}
	return 0;
}

long do_stack_switch(uint64_t ss, uint64_t esp)
{
	struct vcpu *v = current_vcpu();

	v->arch.kernel_ss = ss | 3;
	v->arch.kernel_sp = esp;
	return 0;
}

static struct pv_callback *callback_of(struct vcpu *v, unsigned type)
{
	switch (type) {
	case CALLBACKTYPE_event:
		return &v->arch.event;
	case CALLBACKTYPE_failsafe:
		return &v->arch.failsafe;
	case CALLBACKTYPE_syscall:
		return &v->arch.syscall;
	case CALLBACKTYPE_syscall32:
		return &v->arch.syscall32;
	case CALLBACKTYPE_sysenter:
		return &v->arch.sysenter;
	default:
		return NULL;
	}
}

long do_callback_op(uint64_t cmd, uint64_t arg)
{
	struct vcpu *v = current_vcpu();

	switch (cmd) {
	case CALLBACKOP_register: {
		struct callback_register reg;
		struct pv_callback *cb;

		if (copy_from_guest(&reg, arg, sizeof(reg)))
			return -XEN_EFAULT;
		if (!code_address_ok(reg.address))
			return -XEN_EINVAL;
		if (reg.type == CALLBACKTYPE_nmi) {
			v->arch.nmi_eip = reg.address;
			return 0;
		}
		cb = callback_of(v, reg.type);
		if (!cb)
			return -XEN_ENOSYS;
		cb->eip = reg.address;
		cb->mask_events =
			reg.type == CALLBACKTYPE_event || (reg.flags & CALLBACKF_mask_events);
		return 0;
	}
	case CALLBACKOP_unregister: {
		struct callback_unregister unreg;

		if (copy_from_guest(&unreg, arg, sizeof(unreg)))
			return -XEN_EFAULT;
		if (unreg.type == CALLBACKTYPE_nmi) {
			v->arch.nmi_eip = 0;
			return 0;
		}
		return callback_of(v, unreg.type) ? -XEN_EINVAL : -XEN_ENOSYS;
	}
	default:
		return -XEN_ENOSYS;
	}
}

long do_set_callbacks(uint64_t event, uint64_t failsafe, uint64_t syscall)
{
	struct vcpu *v = current_vcpu();

	if (!code_address_ok(event) || !code_address_ok(failsafe) || !code_address_ok(syscall))
		return -XEN_EINVAL;
	v->arch.event = (struct pv_callback){event, true};
	v->arch.failsafe = (struct pv_callback){failsafe, v->arch.failsafe.mask_events};
	v->arch.syscall = (struct pv_callback){syscall, v->arch.syscall.mask_events};
	return 0;
}

long do_nmi_op(uint64_t cmd, uint64_t arg)
{
	struct vcpu *v = current_vcpu();
	struct xennmi_callback cb;

	switch (cmd) {
	case XENNMI_register_callback:
		if (copy_from_guest(&cb, arg, sizeof(cb)))
			return -XEN_EFAULT;
		if (!code_address_ok(cb.handler_address))
			return -XEN_EINVAL;
		v->arch.nmi_eip = cb.handler_address;
		return 0;
	case XENNMI_unregister_callback:
		v->arch.nmi_eip = 0;
		return 0;
	default:
		return -XEN_ENOSYS;
	}
}

long do_fpu_taskswitch(uint64_t set)
{
	fpu_set_ts(current_vcpu(), set != 0);
	return 0;
}

#define DR7_FIXED 0x400UL
#define DR7_ACTIVE 0xffUL
#define DR7_RESERVED 0xffffffff0000d800UL
#define DR7_GD 0x2000UL

static void hw_debug_load(struct vcpu *v)
{
	__asm__ volatile("mov %0, %%dr0" ::"r"(v->arch.dr[0]));
	__asm__ volatile("mov %0, %%dr1" ::"r"(v->arch.dr[1]));
	__asm__ volatile("mov %0, %%dr2" ::"r"(v->arch.dr[2]));
	__asm__ volatile("mov %0, %%dr3" ::"r"(v->arch.dr[3]));
	__asm__ volatile("mov %0, %%dr7" ::"r"(v->arch.dr[7]));
}

void pvcpu_debug_switch(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();

	if (v->arch.dr[7] & DR7_ACTIVE) {
		hw_debug_load(v);
		p->arch.dr_loaded = true;
	} else if (p->arch.dr_loaded) {
		__asm__ volatile("mov %0, %%dr7" ::"r"(DR7_FIXED));
		p->arch.dr_loaded = false;
	}
}

long pvcpu_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value)
{
	switch (reg) {
	case 0 ... 3:
		if (!guest_range_ok(value, 8))
			return -XEN_EPERM;
		v->arch.dr[reg] = value;
		break;
	case 4:
	case 6:
		if (value >> 32)
			return -XEN_EPERM;
		v->arch.dr[6] = (value & 0xe00f) | 0xffff0ff0;
		return 0;
	case 5:
	case 7:
		if (value >> 32)
			return -XEN_EPERM;
		value = (value & ~DR7_RESERVED) | DR7_FIXED;
		if (value & DR7_GD)
			return -XEN_EPERM;
		/* I/O breakpoints (type 2) need CR4.DE, which no guest has. */
		for (unsigned i = 0; i < 4; i++)
			if ((value >> (16 + 4 * i) & 3) == 2)
				return -XEN_EPERM;
		v->arch.dr[7] = value;
		break;
	default:
		return -XEN_EINVAL;
	}
	if (v == current_vcpu())
		pvcpu_debug_switch(v);
	return 0;
}

long do_set_debugreg(uint64_t reg, uint64_t value)
{
	return pvcpu_set_debugreg(current_vcpu(), reg < 8 ? (unsigned)reg : 8, value);
}

long do_get_debugreg(uint64_t reg)
{
	if (reg >= 8)
		return -XEN_EINVAL;
	if (reg == 4 || reg == 5)
		reg += 2;
	return (long)current_vcpu()->arch.dr[reg];
}
