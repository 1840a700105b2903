/* SPDX-License-Identifier: MIT */
/*
 * I/O-like vCPU: sleeps by a singleshot timer every `period_us`, `count`
 * times from `from` seconds of system time on, and reports how late it woke up.
 */
#include "roles/roles.h"
#include "roles/sort.h"
#include "rt/event.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"
#include <stdatomic.h>

void role_wake(void)
{
	uint64_t period = arg_num("period_us", 1000) * 1000, count = arg_num("count", 1000);
	uint64_t work = arg_num("work", 0), next, *lat;
	struct cpu *c = this_cpu();

	CHECK(count && count * 8 / PAGE_SIZE + 16 < pages_left(), "count= does not fit in memory");
	lat = pages_alloc(count * 8 / PAGE_SIZE + 1);
	sleep_until(arg_num("from", 0) * 1000000000ULL);
	next = time_ns() + period;
	for (uint64_t i = 0; i < count; i++) {
		unsigned long seen = atomic_load(&c->timer_count);
		uint64_t now;

		CHECK_EQ(timer_arm(next, 0), 0, "timer");
		events_mask();
		while (atomic_load(&c->timer_count) == seen) {
			block();
			events_mask();
		}
		events_unmask();
		now = time_ns();
		CHECK(now >= next, "timer fired %ld ns early", next - now);
		lat[i] = now - next;
		for (volatile uint64_t w = 0; w < work; w++)
			;
		/* The next deadline is always ahead: a late wake-up must not cascade. */
		now = time_ns();
		next += period;
		if (next < now + period / 2)
			next = now + period;
	}
	heap_sort(lat, count);
	role_pass("count=%lu period_us=%lu p50_ns=%lu p99_ns=%lu max_ns=%lu", count, period / 1000,
		  lat[count / 2], lat[count * 99 / 100], lat[count - 1]);
}
