/* SPDX-License-Identifier: MIT */
/*
 * What CPUID says to a PV guest: the hardware's leaves less what a PV kernel can't have, Xen's
 * leaves at 0x40000000, and a topology of one core per vCPU. Policy is pure: hardware leaves come
 * in through a callback, so the host tests can show every rule.
 */
#ifndef CORE_X86_CPUID_H
#define CORE_X86_CPUID_H

#include "core/types.h"

struct vcpu;

struct cpuid_leaf {
	uint32_t a, b, c, d;
};

/* What the policy depends on. */
struct cpuid_guest {
	unsigned vcpu; /* number, gives the APIC id */
	unsigned max_vcpus;
	uint64_t xcr0;	   /* the guest's current */
	uint64_t xcr0_max; /* what it may set */
	uint64_t cr4;	   /* the guest's view: OSXSAVE follows it */
	uint64_t tsc_hz;
	struct { /* pvclock parameters, for base + 3 */
		uint32_t mul;
		int8_t shift;
		uint64_t offset;
	} tsc;
	void (*hw)(uint32_t leaf, uint32_t sub, struct cpuid_leaf *out);
};

#define XEN_CPUID_BASE 0x40000000U
#define XEN_VERSION_NUMBER 0x00040011U /* 4.17, as XENVER_version says */
#define XEN_HYPERCALL_MSR 0x40000000U

/** cpuid_policy() - leaf @leaf, subleaf @sub for guest @g. Pure. */
struct cpuid_leaf cpuid_policy(const struct cpuid_guest *g, uint32_t leaf, uint32_t sub);

/** cpuid_vcpu() - the policy for the current vCPU @v. */
struct cpuid_leaf cpuid_vcpu(const struct vcpu *v, uint32_t leaf, uint32_t sub);

#endif
