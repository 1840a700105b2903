/* SPDX-License-Identifier: MIT */
#include "core/x86/tsc.h"

#include <arch/cpu.h>

#include "core/arch.h"
#include "core/x86/apic.h"
#include "core/x86/msr.h"
#include "core/x86/refclock.h"
#include "core/x86/rtc.h"
#include "percpu/pcpu.h"

/* The three counters at one moment, and how far apart their readings may be, in TSC ticks. */
struct sample {
	uint64_t tsc, ref;
	uint32_t apic;
	uint64_t width;
};

#define SAMPLE_TRIES 8

static struct refclock clock;
static struct sample first;

/* Read-only after tsc_init(). */
static uint64_t tsc_hz, apic_hz;
static uint64_t base;
static struct time_scale scale;
static uint64_t wallclock_base;
static bool deadline_mode;

/* The reading least disturbed by whatever else this machine does. */
static struct sample take(void)
{
	struct sample best = {.width = UINT64_MAX};

	for (unsigned i = 0; i < SAMPLE_TRIES; i++) {
		uint64_t before = arch_cycles();
		uint64_t ref = clock.read();
		uint32_t count = apic_timer_count();
		uint64_t after = arch_cycles();

		if (after - before < best.width)
			best = (struct sample){before + (after - before) / 2, ref, count,
					       after - before};
	}
	return best;
}

void tsc_init_begin(void)
{
	clock = refclock_find();
	apic_timer_free_run();
	first = take();
	base = first.tsc;
}

void tsc_init(void)
{
	uint64_t want = tsc_mul_div(CALIBRATE_NS, clock.hz, NS_PER_SEC);
	struct sample last;
	uint64_t ref;

	if (tsc_hz)
		return;
	while (((clock.read() - first.ref) & clock.mask) < want)
		cpu_relax();
	last = take();
	apic_timer_stop();

	ref = (last.ref - first.ref) & clock.mask;
	tsc_hz = tsc_mul_div(last.tsc - first.tsc, clock.hz, ref);
	apic_hz = tsc_mul_div((uint32_t)(first.apic - last.apic), clock.hz, ref);
	if (!tsc_hz || !apic_hz)
		panic("calibration failed: TSC %lu Hz, APIC timer %lu Hz", tsc_hz, apic_hz);
	scale = time_scale_from_hz(tsc_hz);
	deadline_mode = cpu_has_tsc_deadline();
	wallclock_base = rtc_read() * NS_PER_SEC - arch_now_ns();
}

void tsc_init_cpu(void)
{
	if (deadline_mode)
		apic_timer_deadline_mode();
}

uint64_t arch_now_ns(void)
{
	uint64_t ticks = arch_cycles() - base;

	ticks = scale.shift < 0 ? ticks >> -scale.shift : ticks << scale.shift;
	return (uint64_t)(((unsigned __int128)ticks * scale.mul) >> 32);
}

uint64_t arch_wallclock_base_ns(void)
{
	return wallclock_base;
}

uint64_t arch_tsc_hz(void)
{
	return tsc_hz;
}

struct time_scale arch_tsc_scale(void)
{
	return scale;
}

uint64_t arch_tsc_base(void)
{
	return base;
}

uint64_t tsc_apic_hz(void)
{
	return apic_hz;
}

/* The earliest the hardware can do when a deadline is already over, in timer ticks. */
#define TICKS_SOON 1

static void program(uint64_t deadline, uint64_t now)
{
	if (deadline_mode) {
		uint64_t ticks = deadline == TIME_NEVER
					 ? 0
					 : base + tsc_mul_div(deadline, tsc_hz, NS_PER_SEC) + 1;

		wrmsr(MSR_TSC_DEADLINE, ticks);
		return;
	}
	if (deadline == TIME_NEVER) {
		apic_timer_oneshot(0);
		return;
	}
	uint64_t ticks = deadline > now ? tsc_mul_div(deadline - now, apic_hz, NS_PER_SEC) : 0;

	apic_timer_oneshot((uint32_t)MIN(MAX(ticks, TICKS_SOON), UINT32_MAX));
}

void arch_set_deadline(uint64_t ns)
{
	this_pcpu()->arch.deadline_ns = ns;
	program(ns, arch_now_ns());
}

bool tsc_timer_irq(void)
{
	uint64_t deadline = this_pcpu()->arch.deadline_ns, now = arch_now_ns();

	if (deadline == TIME_NEVER)
		return false;
	if (now >= deadline)
		return true;
	program(deadline, now);
	return false;
}

void udelay(unsigned us)
{
	uint64_t end = arch_now_ns() + us * NS_PER_US;

	while (arch_now_ns() < end)
		cpu_relax();
}
