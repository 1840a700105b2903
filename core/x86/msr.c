/* SPDX-License-Identifier: MIT */
#include "core/x86/msr.h"

#include <arch/cpu.h>

#include "core/arch.h"
#include "core/domain.h"
#include "core/x86/segbase.h"

#define APIC_BASE_DEFAULT 0xfee00000UL
#define APIC_BASE_BSP (1UL << 8)
#define APIC_BASE_ENABLE (1UL << 11)

/* Fast strings; no branch trace store, no PEBS, no xTPR. */
#define MISC_ENABLE (1UL << 0 | 1UL << 11 | 1UL << 12 | 1UL << 23)

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	switch (msr) {
	case MSR_FS_BASE:
		*val = segbase_read_fs();
		return true;
	case MSR_GS_BASE:
		*val = segbase_read_gs_kernel(v);
		return true;
	case MSR_KERNEL_GS_BASE:
		*val = segbase_read_gs_user(v);
		return true;
	case MSR_EFER:
		*val = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
		return true;
	case MSR_TSC:
		*val = arch_cycles();
		return true;
	case MSR_APIC_BASE:
		*val = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | (v->id ? 0 : APIC_BASE_BSP);
		return true;
	case MSR_PAT:
		*val = XEN_PAT;
		return true;
	case MSR_MISC_ENABLE:
		*val = MISC_ENABLE;
		return true;
	case MSR_UCODE_REV:
	case MSR_PLATFORM_INFO:
	case MSR_MISC_FEATURES:
	case MSR_HWCR:
		*val = 0;
		return true;
	default:
		return false;
	}
}

/* The guest names a frame of its own, which becomes a page of hypercall stubs. */
static bool hypercall_page(struct vcpu *v, uint64_t val)
{
	mfn_t m;

	if (val & ~PAGE_MASK) /* one page only, number 0 */
		return false;
	m = mm_gfn_get_writable(&v->domain->mm, GFN(val >> PAGE_SHIFT));
	if (!mfn_valid_value(m))
		return false;
	arch_hypercall_page(arch_mfn_to_virt(m));
	return true;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t val)
{
	uint64_t now;

	switch (msr) {
	case MSR_FS_BASE:
		return segbase_write_fs(val);
	case MSR_GS_BASE:
		return segbase_write_gs_kernel(v, val);
	case MSR_KERNEL_GS_BASE:
		return segbase_write_gs_user(v, val);
	case MSR_XEN_HYPERCALL_PAGE:
		return hypercall_page(v, val);
	case MSR_TSC:
		return false;
	default: /* what can't change may be written as it is: microcode revision 0, EFER, PAT */
		return msr_read(v, msr, &now) && now == val;
	}
}
