/* SPDX-License-Identifier: MIT */
/*
 * System time from the TSC, assumed invariant and synchronized between CPUs: ns = (tsc - t0)
 * scaled by a multiplier, as pvclock does it, so hypervisor and guests agree to the ns.
 * The TSC and the APIC timer are calibrated together over one window of CALIBRATE_NS.
 */
#ifndef CORE_X86_TIME_H
#define CORE_X86_TIME_H

#include "core/types.h"

#define CALIBRATE_NS (10 * NS_PER_MS)

/* ns = ((ticks << shift, or >> -shift) * mul) >> 32: pvclock's tsc_to_system_mul/tsc_shift. */
struct time_scale {
	uint32_t mul;
	int8_t shift;
};

/* A counter of known frequency to calibrate against. */
struct refclock {
	const char *name;
	uint64_t hz;
	uint64_t mask; /* it wraps after this value */
	uint64_t (*read)(void);
};

/** time_scale_for() - scale that turns ticks of @hz into ns. @hz > 0. */
struct time_scale time_scale_for(uint64_t hz);

/** time_scale_apply() - ticks to ns under @s. */
static inline uint64_t time_scale_apply(struct time_scale s, uint64_t ticks)
{
	ticks = s.shift < 0 ? ticks >> -s.shift : ticks << s.shift;
	return (uint64_t)(((unsigned __int128)ticks * s.mul) >> 32);
}

/** time_hz() - frequency of a counter that made @ticks while a clock of @hz made @ref. */
uint64_t time_hz(uint64_t ticks, uint64_t ref, uint64_t hz);

/** time_unix() - seconds since the epoch of a Gregorian date, UTC. @mon 1-12, @day 1-31. */
uint64_t time_unix(unsigned year, unsigned mon, unsigned day, unsigned h, unsigned m, unsigned s);

/**
 * time_init_begin() - take the first sample; system time 0 is here. BSP, after acpi_init() and
 * apic_init(). Until time_init(), arch_now_ns() returns 0.
 */
void time_init_begin(void);

/**
 * time_init() - wait until CALIBRATE_NS have passed since time_init_begin(), take the second
 * sample, read the RTC. From here arch_now_ns(), arch_tsc_hz() and deadlines work.
 */
void time_init(void);

/** time_init_cpu() - prepare this CPU's timer (deadline mode). Each AP and the BSP. */
void time_init_cpu(void);

/** arch_tsc_hz() - TSC ticks per second. */
uint64_t arch_tsc_hz(void);
/** arch_tsc_scale() - scale and the TSC value of system time 0, for the guests' pvclock. */
struct time_scale arch_tsc_scale(void);
uint64_t arch_tsc_base(void);

/** time_apic_hz() - APIC timer ticks per second. */
uint64_t time_apic_hz(void);

/**
 * time_timer_irq() - VEC_TIMER arrived. True when this pCPU's deadline has passed; false when it
 * came early (a deadline farther than the timer can count), and the timer is running again.
 */
bool time_timer_irq(void);

/** udelay() - spin for @us microseconds, pausing. After time_init(). */
void udelay(unsigned us);

#endif
