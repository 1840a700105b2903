/* SPDX-License-Identifier: MIT */
/* Time on the host: the monotonic clock, or a virtual one that tests set. */
#include <time.h>

#include "core/host/host.h"

static _Atomic bool is_virtual;
static _Atomic uint64_t virtual_ns;

uint64_t arch_now_ns(void)
{
	struct timespec ts;

	if (atomic_load_explicit(&is_virtual, memory_order_relaxed))
		return atomic_load_explicit(&virtual_ns, memory_order_relaxed);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t arch_wallclock_base_ns(void)
{
	struct timespec ts;

	if (atomic_load_explicit(&is_virtual, memory_order_relaxed))
		return 1700000000ULL * NS_PER_SEC;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec - arch_now_ns();
}

/* Host tests see a counter of one tick per ns. */
uint64_t arch_tsc_hz(void)
{
	return NS_PER_SEC;
}

void host_clock_virtual(bool on)
{
	atomic_store(&is_virtual, on);
}

bool host_clock_is_virtual(void)
{
	return atomic_load(&is_virtual);
}

void host_clock_set(uint64_t ns)
{
	atomic_store(&virtual_ns, ns);
}

void host_clock_advance(uint64_t ns)
{
	atomic_fetch_add(&virtual_ns, ns);
}
