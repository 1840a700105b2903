/* SPDX-License-Identifier: MIT */
/* Guest descriptor tables: validated copies, which are what the hardware uses. */
#ifndef X86_SEGDESC_H
#define X86_SEGDESC_H

#include "core/domain.h"

/**
 * segdesc_check() - may a guest have this descriptor? Code and data segments only, ring 3 forced,
 * accessed bit set in advance. Returns false for gates, TSS, and the like that are present.
 */
bool segdesc_check(uint64_t *desc);

/** segdesc_set_gdt() - install @n frames with @entries descriptors on @v. 0 or -XEN_Exxx. */
int segdesc_set_gdt(struct vcpu *v, const gfn_t *frames, unsigned entries);

/** segdesc_load() - make this pCPU's windows show @v's tables. */
void segdesc_load(struct vcpu *v);

/** segdesc_free() - release the copies; @v is not loaded anywhere. */
void segdesc_free(struct vcpu *v);

/** arch_set_ldt() - MMUEXT_SET_LDT for the current vCPU: @ents entries at @gva. 0 or -errno. */
int arch_set_ldt(uint64_t gva, unsigned ents);

#endif
