/* SPDX-License-Identifier: MIT */
/*
 * The local APIC, xAPIC (MMIO) and x2APIC (MSRs) behind one interface. Back ends supply register
 * access only; everything else is shared. Intel SDM vol. 3, chapter 10.
 */
#ifndef CORE_X86_APIC_H
#define CORE_X86_APIC_H

#include <arch/x86.h> /* VEC_KICK, VEC_TIMER, VEC_SPURIOUS (the last gets no EOI) */

#include "core/types.h"

/* Register offsets of the xAPIC page; the x2APIC MSR is 0x800 + (offset >> 4). */
enum apic_reg {
	APIC_ID = 0x020,
	APIC_VERSION = 0x030,
	APIC_TPR = 0x080,
	APIC_EOI = 0x0B0,
	APIC_LDR = 0x0D0,
	APIC_DFR = 0x0E0, /* xAPIC only */
	APIC_SVR = 0x0F0,
	APIC_ESR = 0x280,
	APIC_LVT_CMCI = 0x2F0,
	APIC_ICR = 0x300,
	APIC_ICR2 = 0x310, /* xAPIC only */
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_THERMAL = 0x330,
	APIC_LVT_PERF = 0x340,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INIT = 0x380,
	APIC_TIMER_CUR = 0x390,
	APIC_TIMER_DIV = 0x3E0,
};

struct apic_ops {
	const char *name;
	uint32_t max_id;      /* largest addressable APIC id */
	void (*enable)(void); /* switch this CPU's APIC into the mode */
	uint32_t (*id)(void);
	uint32_t (*read)(enum apic_reg reg);
	void (*write)(enum apic_reg reg, uint32_t val);
	/* Send: @low is ICR bits 31..0; @dest is ignored with a shorthand. */
	void (*icr)(uint32_t dest, uint32_t low);
};

/* How the back ends reach the hardware; tests replace it. */
struct apic_hw {
	volatile uint32_t *mmio; /* the xAPIC page */
	uint64_t (*rdmsr)(uint32_t msr);
	void (*wrmsr)(uint32_t msr, uint64_t val);
};
extern struct apic_hw apic_hw;

extern const struct apic_ops xapic_ops;
extern const struct apic_ops x2apic_ops;
extern const struct apic_ops *apic; /* the one in use */

/**
 * apic_init() - choose the back end (x2APIC when the CPU has it), map the registers, silence the
 * 8259s and every I/O APIC, and set this CPU's APIC up. Once, on the BSP, after acpi_init().
 */
void apic_init(void);

/** apic_init_cpu() - set up the APIC of the CPU this runs on: all LVTs masked, APIC enabled. */
void apic_init_cpu(void);

/** apic_id() - this CPU's APIC id. */
uint32_t apic_id(void);

/** apic_eoi() - end of interrupt; not for VEC_SPURIOUS nor NMIs. */
void apic_eoi(void);

/** apic_send_ipi() - fixed interrupt @vector to the CPU with APIC id @dest. */
void apic_send_ipi(uint32_t dest, uint8_t vector);
/** apic_send_init()/apic_send_sipi() - start-up sequence to one APIC id. @page = phys >> 12. */
void apic_send_init(uint32_t dest);
void apic_send_sipi(uint32_t dest, uint8_t page);
/** The same to all CPUs but this one. */
void apic_send_init_all(void);
void apic_send_sipi_all(uint8_t page);
/** apic_send_nmi_all_others() - NMI to all CPUs but this one. Panic path: any context. */
void apic_send_nmi_all_others(void);

/** apic_timer_oneshot() - interrupt VEC_TIMER after @ticks of the APIC timer; 0 stops it. */
void apic_timer_oneshot(uint32_t ticks);
/** apic_timer_free_run() - count down from 2^32-1 with the interrupt masked (calibration). */
void apic_timer_free_run(void);
/** apic_timer_stop() - end a free run: one-shot again, not counting. */
void apic_timer_stop(void);
/** apic_timer_count() - current count. */
uint32_t apic_timer_count(void);
/** apic_timer_deadline_mode() - this CPU's timer follows IA32_TSC_DEADLINE from now on. */
void apic_timer_deadline_mode(void);

/** cpu_has_x2apic()/cpu_has_tsc_deadline() - CPUID.1:ECX bits 21 and 24. */
bool cpu_has_x2apic(void);
bool cpu_has_tsc_deadline(void);

#endif
