/* SPDX-License-Identifier: MIT */
/*
 * Bring-up of all application processors at once: one broadcast INIT and SIPI, and every AP runs
 * the same trampoline, takes a ticket (one locked add) and becomes the pCPU of that number. So
 * the time is that of the slowest AP, not the sum, and ids are dense whatever APs are broken.
 */
#ifndef CORE_X86_SMP_H
#define CORE_X86_SMP_H

#ifndef __ASSEMBLER__
#include "core/types.h"
#endif

/* Where the trampoline is copied to: below 1 MiB, and nobody's memory by then. */
#define SMP_TRAMPOLINE_PHYS 0x8000

#ifndef __ASSEMBLER__

/* APIC id of each pCPU. Entry 0 is set by smp_init_bsp(), the others by the APs before ap_main();
 * constant afterwards, and shared by all CPUs because of that. */
extern uint32_t smp_apic_id[MAX_PCPUS];

/** smp_init_bsp() - record this CPU as pCPU 0. After apic_init(). */
void smp_init_bsp(void);

/** smp_needs_init_delay() - whether this CPU needs the 10 ms between INIT and SIPI that the
 * MultiProcessor Specification (B.4) asks for. Pure: CPUID leaf 0's vendor and leaf 1's EAX, ECX. */
bool smp_needs_init_delay(const char vendor[12], uint32_t leaf1_eax, uint32_t leaf1_ecx);

/**
 * smp_boot_all() - start up to @max pCPUs, this one included (0: all the firmware lists).
 * Returns the number online; ids are 0 to n-1. Reports CPUs that never came. Once, on the BSP,
 * which has its IDT, after apic_init(), smp_init_bsp() and tsc_init_begin(); calls tsc_init().
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
 *                    off, GDT the trampoline's, local APIC set up, smp_apic_id[@id] known.
 */
struct pcpu;
struct pcpu *pcpu_alloc(unsigned id, uint32_t apic_id);
void *pcpu_stack_top(unsigned id);
NORETURN void ap_main(unsigned id);

#endif
#endif
