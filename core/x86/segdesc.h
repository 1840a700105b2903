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

#endif
