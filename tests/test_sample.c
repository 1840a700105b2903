/* SPDX-License-Identifier: MIT */
/* The averages of the working-set sampler, by hand. */
#include "memsvc/sample.h"

#include <criterion/criterion.h>
#include <string.h>

#include "core/host/host.h"
#include "memsvc/name.h"
#include "memsvc/policy.h"

static struct sampler s;

static uint32_t percent(uint32_t fraction)
{
	return (fraction * 100 + POLICY_ONE / 2) / POLICY_ONE;
}

Test(sample, unknown_counts_as_active)
{
	cr_assert_eq(sampler_estimate(&s), POLICY_ONE);
	/* Nothing could be sampled: still unknown. */
	sampler_period_end(&s, 0, 0);
	cr_assert_eq(sampler_estimate(&s), POLICY_ONE);
}

/*
 * The first period is taken as it is. Then from 40% to nothing: the slow average (1/8) holds the
 * estimate up: 40, 35, 30.6, 26.8 %. Then to 81%: the fast one (1/2) leads at once.
 */
Test(sample, falls_slowly_rises_fast)
{
	sampler_period_end(&s, 40, 100);
	cr_assert_eq(percent(sampler_estimate(&s)), 40);
	sampler_period_end(&s, 0, 100);
	cr_assert_eq(percent(s.fast), 20);
	cr_assert_eq(percent(sampler_estimate(&s)), 35);
	sampler_period_end(&s, 0, 100);
	cr_assert_eq(percent(s.fast), 10);
	cr_assert_eq(percent(sampler_estimate(&s)), 31);
	sampler_period_end(&s, 0, 100);
	cr_assert_eq(percent(s.fast), 5);
	cr_assert_eq(percent(sampler_estimate(&s)), 27);
	sampler_period_end(&s, 81, 100);
	cr_assert_eq(percent(s.fast), 43); /* (5 + 81) / 2 */
	cr_assert_eq(percent(s.slow), 34); /* 26.8 + (81 - 26.8) / 8 = 33.6 */
	cr_assert_eq(sampler_estimate(&s), s.fast);
}

/* Within a period the count so far can only raise the estimate. */
Test(sample, running_period)
{
	sampler_period_end(&s, 10, 100);
	s.n = 100;
	cr_assert_eq(percent(sampler_estimate(&s)), 10);
	s.touched = 10;
	cr_assert_eq(percent(sampler_estimate(&s)), 10);
	s.touched = 60;
	cr_assert_eq(percent(sampler_estimate(&s)), 35); /* (10 + 60) / 2 */
	sampler_period_end(&s, 60, 100);
	cr_assert_eq(s.touched, 0);
	cr_assert_eq(percent(sampler_estimate(&s)), 35);
}

/* A constant load converges to itself from both sides, without creeping through rounding. */
Test(sample, converges)
{
	for (uint32_t start = 0; start <= 100; start += 50)
		for (uint32_t load = 0; load <= 100; load += 10) {
			uint32_t want = load * POLICY_ONE / 100;

			memset(&s, 0, sizeof(s));
			sampler_period_end(&s, start, 100);
			for (unsigned i = 0; i < 120; i++)
				sampler_period_end(&s, load, 100);
			cr_assert(s.slow <= want + 8 && want <= s.slow + 8, "%u to %u: %u", start,
				  load, s.slow);
			cr_assert(s.fast <= want + 2 && want <= s.fast + 2);
		}
}

/* The guest reads @percent of its first thousand names, evenly spread. */
static void touch_some(struct mm *mm, unsigned percent)
{
	for (uint64_t gfn = 0; gfn < 1000; gfn++)
		if (gfn * 37 % 100 < percent)
			cr_assert_eq(name_touch(mm, gfn, false, false), 0);
}

/* On real memory: the estimate says how much of it is touched. */
Test(sample, counts_what_is_touched)
{
	static struct mm mm;
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, 8000UL << PAGE_SHIFT};
	const uint64_t period = 1000;
	uint64_t now = 1, run = 0;

	host_arena_init(8000);
	cr_assert_eq(frames_init(&r, 1), 0);
	host_sim_init(1);
	cr_assert_eq(mm_init(&mm, 1, 4000, NULL, 0), 0);
	mm_promise_all(&mm);
	/* Only a quarter of its names have a frame: only these count. */
	for (uint64_t gfn = 0; gfn < 1000; gfn++)
		cr_assert_eq(name_touch(&mm, gfn, true, false), 0);
	cr_assert_not(sample_step(&s, &mm, now, run, period, 200));
	cr_assert_eq(s.n, 200);
	for (uint32_t i = 0; i < s.n; i++)
		cr_assert_lt(s.gfn[i], 1000);
	/* 30% of them; found within the period, and at its end. */
	touch_some(&mm, 30);
	now += period / 2;
	run += period / 2;
	cr_assert(sample_step(&s, &mm, now, run, period, 200));
	cr_assert(s.touched > 30 && s.touched < 95, "%u of 200", s.touched);
	cr_assert_eq(sampler_estimate(&s), POLICY_ONE);
	now += period;
	run += period / 2;
	cr_assert(sample_step(&s, &mm, now, run, period, 200));
	cr_assert(percent(sampler_estimate(&s)) > 15 && percent(sampler_estimate(&s)) < 48);
	/* Nothing any more: periods of an idle guest end by real time, and the estimate falls. */
	for (unsigned i = 0; i < 40; i++) {
		now += 2 * period;
		cr_assert(sample_step(&s, &mm, now, run, period, 200));
	}
	cr_assert_lt(percent(sampler_estimate(&s)), 2);
	/* All of it: the estimate rises within the period. */
	touch_some(&mm, 100);
	now += period / 2;
	run += period / 2;
	cr_assert(sample_step(&s, &mm, now, run, period, 200));
	cr_assert_gt(percent(sampler_estimate(&s)), 45);
}
