/* SPDX-License-Identifier: MIT */
/* Descriptor tables, TSS, IDT, syscall stub and stacks of a pCPU. */
#ifndef X86_GDT_H
#define X86_GDT_H

#include "percpu/pcpu.h"

/**
 * gdt_prepare() - allocate and fill the tables of a pCPU before it comes up. Runs on pCPU 0.
 * Panics when memory is short: nothing works without them.
 */
void gdt_prepare(struct pcpu *p);

/** gdt_load() - load GDT, TSS, IDT and the syscall MSRs on the pCPU itself. */
void gdt_load(struct pcpu *p);

/** gdt_map_guest() - point the GDT window of this pCPU at @pages (0: the zero page). */
void gdt_map_guest(struct pcpu *p, const mfn_t *pages, unsigned n);

#endif
