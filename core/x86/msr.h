/* SPDX-License-Identifier: MIT */
/* RDMSR and WRMSR of a PV guest: Xen's policy for a domU, unknown registers are #GP. */
#ifndef CORE_X86_MSR_H
#define CORE_X86_MSR_H

#include <arch/x86.h>

#include "core/types.h"

struct vcpu;

#define MSR_APIC_BASE 0x1b
#define MSR_UCODE_REV 0x8b
#define MSR_PLATFORM_INFO 0xce
#define MSR_MISC_FEATURES 0x140
#define MSR_MISC_ENABLE 0x1a0
#define MSR_TSC 0x10
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_HWCR 0xc0010015
#define MSR_XEN_HYPERCALL_PAGE 0x40000000
#define MSR_TSC_AUX 0xc0000103

/* The ABI's PAT, entries 0 to 7: WB WT UC- UC WC WP UC UC. */
#define XEN_PAT 0x0000050100070406ULL

/** msr_read() - current vCPU @v reads @msr. False: #GP. */
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *val);
/** msr_write() - current vCPU @v writes @msr. False: #GP. */
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t val);

#endif
