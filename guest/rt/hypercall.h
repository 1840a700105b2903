/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls (xen/arch-x86/xen-x86_64.h). hypercall() goes through the
 * hypercall page or, after hypercall_use_inline(true), through an inline
 * SYSCALL as Linux uses it; both must behave alike.
 *
 * Every wrapper returns what the hypervisor returned: >= 0, or -XEN_E*.
 */
#ifndef MINI_HYPERCALL_H
#define MINI_HYPERCALL_H

#include "rt/base.h"
#include <xen/callback.h>
#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>

/* Defined in entry.S. */
long hypercall(unsigned long nr, unsigned long a1, unsigned long a2, unsigned long a3,
	       unsigned long a4, unsigned long a5);
extern uint8_t hypercall_inline;
extern uint8_t hypercall_page[4096];

#define HC0(n) hypercall(__HYPERVISOR_##n, 0, 0, 0, 0, 0)
#define HC1(n, a) hypercall(__HYPERVISOR_##n, (unsigned long)(a), 0, 0, 0, 0)
#define HC2(n, a, b) hypercall(__HYPERVISOR_##n, (unsigned long)(a), (unsigned long)(b), 0, 0, 0)
#define HC3(n, a, b, c)                                                                            \
	hypercall(__HYPERVISOR_##n, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), 0, \
		  0)
#define HC4(n, a, b, c, d)                                                                      \
	hypercall(__HYPERVISOR_##n, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), \
		  (unsigned long)(d), 0)

static inline void hypercall_use_inline(bool on)
{
	hypercall_inline = on;
}

static inline long hc_sched(int cmd, void *arg)
{
	return HC2(sched_op, cmd, arg);
}

static inline long hc_evtchn(int cmd, void *arg)
{
	return HC2(event_channel_op, cmd, arg);
}

static inline long hc_vcpu(int cmd, unsigned int vcpu, void *arg)
{
	return HC3(vcpu_op, cmd, vcpu, arg);
}

static inline long hc_memory(int cmd, void *arg)
{
	return HC2(memory_op, cmd, arg);
}

static inline long hc_version(int cmd, void *arg)
{
	return HC2(xen_version, cmd, arg);
}

static inline long hc_mmu_update(struct mmu_update *u, unsigned int n, unsigned int *done)
{
	return HC4(mmu_update, u, n, done, DOMID_SELF);
}

static inline long hc_mmuext(struct mmuext_op *op, unsigned int n, unsigned int *done)
{
	return HC4(mmuext_op, op, n, done, DOMID_SELF);
}

static inline long hc_update_va(unsigned long va, uint64_t pte, unsigned long flags)
{
	return HC3(update_va_mapping, va, pte, flags);
}

static inline long hc_multicall(struct multicall_entry *e, unsigned int n)
{
	return HC2(multicall, e, n);
}

#endif
