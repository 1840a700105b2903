/* SPDX-License-Identifier: MIT */
/* pvclock scales and the version protocols. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/time.h"

Test(time, scale_of_known_frequencies)
{
	static const uint64_t hz[] = {1000000000, 2000000000, 2000000001, 999999999, 2893299000,
				      5000000000, 1,	      32768,	  25000000,  1ULL << 40};

	for (unsigned i = 0; i < ARRAY_SIZE(hz); i++) {
		struct time_scale s = time_scale_from_hz(hz[i]);
		/* A day, or as many ticks as 40 bits hold. */
		uint64_t ticks = hz[i] > 1ULL << 23 ? hz[i] * 1000 : hz[i] * 86400;
		__uint128_t exact = (__uint128_t)ticks * NS_PER_SEC / hz[i];
		uint64_t got = time_scale_apply(s, ticks);
		uint64_t diff = got > exact ? (uint64_t)(got - exact) : (uint64_t)(exact - got);

		cr_assert(s.mul >> 31, "%lu", (unsigned long)hz[i]);
		cr_assert(diff <= (exact >> 31) + 1, "%lu Hz: %lu ns off", (unsigned long)hz[i],
			  (unsigned long)diff);
	}
}

Test(time, scale_is_monotonic)
{
	struct time_scale s = time_scale_from_hz(2893299000);
	uint64_t last = 0;
	unsigned seed = 7;

	for (uint64_t t = 0; t < 1ULL << 50; t += (uint64_t)rand_r(&seed) << 20) {
		uint64_t ns = time_scale_apply(s, t);

		cr_assert(ns >= last);
		last = ns;
	}
}

static struct vcpu_time_info shared;
static _Atomic bool stop;

static void *writer(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; !atomic_load(&stop); i++)
		time_info_write(&shared, (struct time_scale){(uint32_t)i, (int8_t)(i & 31)}, i, i);
	return NULL;
}

/* A reader that follows the protocol never sees a mixture. */
Test(time, version_protocol)
{
	pthread_t t;
	unsigned good = 0;

	time_info_write(&shared, (struct time_scale){0, 0}, 0, 0);
	pthread_create(&t, NULL, writer, NULL);
	while (good < 200000) {
		uint32_t v1 = __atomic_load_n(&shared.version, __ATOMIC_ACQUIRE), v2;
		struct vcpu_time_info c;

		c.tsc_timestamp = __atomic_load_n(&shared.tsc_timestamp, __ATOMIC_ACQUIRE);
		c.system_time = __atomic_load_n(&shared.system_time, __ATOMIC_ACQUIRE);
		c.tsc_to_system_mul = __atomic_load_n(&shared.tsc_to_system_mul, __ATOMIC_ACQUIRE);
		v2 = __atomic_load_n(&shared.version, __ATOMIC_RELAXED);
		if (v1 & 1 || v1 != v2)
			continue;
		good++;
		cr_assert(c.tsc_timestamp == c.system_time &&
			  c.tsc_to_system_mul == (uint32_t)c.system_time);
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
}

Test(time, wall_clock)
{
	static shared_info_t si;

	time_wallclock_write(&si, 5000000000ULL * NS_PER_SEC + 123456789);
	cr_assert_eq(si.wc_sec, (uint32_t)5000000000ULL);
	cr_assert_eq(si.wc_sec_hi, 1);
	cr_assert_eq(si.wc_nsec, 123456789);
	cr_assert_eq(si.wc_version, 2);
}
