/* SPDX-License-Identifier: MIT */
/* RDMSR and WRMSR of a PV guest: Xen's policy for a domU, unknown registers are #GP. */
#ifndef CORE_X86_MSR_H
#define CORE_X86_MSR_H

#include "core/types.h"

struct vcpu;

enum msr {
	MSR_APIC_BASE = 0x1b,
	MSR_UCODE_REV = 0x8b,
	MSR_PLATFORM_INFO = 0xce,
	MSR_MTRR_CAP = 0xfe,
	MSR_MISC_FEATURES = 0x140,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_PAT = 0x277,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_EFER = 0xc0000080,
	MSR_STAR = 0xc0000081,
	MSR_LSTAR = 0xc0000082,
	MSR_CSTAR = 0xc0000083,
	MSR_SFMASK = 0xc0000084,
	MSR_FS_BASE = 0xc0000100,
	MSR_GS_BASE = 0xc0000101,
	MSR_KERNEL_GS_BASE = 0xc0000102,
	MSR_TSC_AUX = 0xc0000103,
};

/* Xen's PAT: UC, WP, WC, UC-, WT, WB from entry 7 down; WB, WT, UC-, UC, WC, WP. */
#define XEN_PAT 0x050100070406ULL

/** msr_read() - current vCPU @v reads @msr. False: #GP. */
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *val);
/** msr_write() - current vCPU @v writes @msr. False: #GP. */
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t val);

/** msr_fill_hypercall_page() - write the ABI's hypercall page (32 bytes per number) to @page. */
void msr_fill_hypercall_page(void *page);

#endif
