/* SPDX-License-Identifier: MIT */
/*
 * Bring-up of all application processors at once: one broadcast INIT and SIPI, and every AP runs
 * the same trampoline, takes a ticket (one locked add) and becomes the pCPU of that number. So
 * the time is that of the slowest AP, not the sum, and ids are dense whatever APs are broken.
 */
#ifndef CORE_X86_SMP_H
#define CORE_X86_SMP_H

#include "core/types.h"

/* The trampoline's page, and the page under it for its stack-less data; both saved by nobody. */
#define SMP_TRAMPOLINE_PHYS 0x8000UL

/* APIC id of each pCPU; entry 0 is set by smp_init_bsp(), others by the APs before ap_main(). */
extern uint32_t smp_apic_id[MAX_PCPUS];

/** smp_init_bsp() - record this CPU as pCPU 0. After apic_init(). */
void smp_init_bsp(void);

/**
 * smp_boot_all() - start up to @max pCPUs, this one included (0: all the firmware lists).
 * Needs acpi, apic and time set up. Returns the number online; ids are 0 to n-1. Reports CPUs
 * that never came. Once, on the BSP.
 */
unsigned smp_boot_all(unsigned max);

/** smp_set_online() - called by ap_main() on the AP when it can take interrupts and work. */
void smp_set_online(void);

/** smp_online_count() - pCPUs online so far. */
unsigned smp_online_count(void);

/*
 * Supplied by the boot code:
 * pcpu_alloc()     - allocate pCPU @id's area and stack; @apic_id is only a hint for APs, whose
 *                    ids are given out on arrival. NULL when out of memory.
 * pcpu_stack_top() - top of pCPU @id's stack, 16-byte aligned.
 * ap_main()        - C entry of an AP, on its own stack, hyp_cr3 loaded, long mode, interrupts
 *                    off, GDT the trampoline's.
 * hyp_cr3          - physical address of the hypervisor's own L4.
 */
struct pcpu;
struct pcpu *pcpu_alloc(unsigned id, uint32_t apic_id);
void *pcpu_stack_top(unsigned id);
NORETURN void ap_main(unsigned id);
extern uint64_t hyp_cr3;

#endif
