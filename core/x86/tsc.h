/* SPDX-License-Identifier: MIT */
/*
 * System time from the TSC, assumed invariant and synchronized between CPUs: ns since a base
 * sample by pvclock's multiplier and shift (core/time.h), so hypervisor and guests agree to the
 * ns. The TSC and the APIC timer are calibrated together over one window of CALIBRATE_NS.
 */
#ifndef CORE_X86_TSC_H
#define CORE_X86_TSC_H

#include "core/types.h"

#include "core/time.h"

#define CALIBRATE_NS (10 * NS_PER_MS)

/** tsc_unix_time() - seconds since the epoch of a UTC date. @mon 1-12, @day 1-31. */
uint64_t tsc_unix_time(unsigned year, unsigned mon, unsigned day, unsigned h, unsigned m,
		       unsigned s);

/** tsc_mul_div() - a * b / c without overflow in between; saturates. @c > 0. */
uint64_t tsc_mul_div(uint64_t a, uint64_t b, uint64_t c);

/**
 * tsc_init_begin() - take the first sample: system time 0 is here. BSP, after acpi_init() and
 * apic_init(). Until tsc_init(), arch_now_ns() returns 0.
 */
void tsc_init_begin(void);

/**
 * tsc_init() - wait until CALIBRATE_NS have passed since tsc_init_begin(), take the second sample,
 * read the RTC. From here arch_now_ns(), arch_tsc_hz() and deadlines work. Again: nothing.
 */
void tsc_init(void);

/** tsc_init_cpu() - prepare this CPU's timer. Every pCPU, the BSP after tsc_init(). */
void tsc_init_cpu(void);

/** arch_tsc_hz() - TSC ticks per second. */
uint64_t arch_tsc_hz(void);
/** arch_tsc_scale()/arch_tsc_base() - system time = scale(tsc - base), for the pvclock. */
struct time_scale arch_tsc_scale(void);
uint64_t arch_tsc_base(void);

/** tsc_apic_hz() - APIC timer ticks per second. */
uint64_t tsc_apic_hz(void);

/**
 * tsc_timer_irq() - VEC_TIMER arrived on this pCPU. True when its deadline has passed; false when
 * it came early (a deadline farther than the timer can count) and the timer is running again.
 */
bool tsc_timer_irq(void);

/** udelay() - spin for @us microseconds, pausing. After tsc_init(). */
void udelay(unsigned us);

#endif
