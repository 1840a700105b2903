/* SPDX-License-Identifier: MIT */
/* Several pCPUs change, walk and balloon one domain's memory; see mm_storm.h. */
#include "mm_storm.h"

Test(mm_storm, converges)
{
	uint64_t seed = seed_from_env();
	const char *s = getenv("STORM_OPS");
	uint64_t ops = s ? strtoull(s, NULL, 0) : 4000;

	for (unsigned round = 0; round < 5; round++) {
		storm(seed + round, ops);
		storm_teardown();
	}
	printf("# %llu TLB hits, %llu walks, %llu faults\n", (unsigned long long)storm_hits,
	       (unsigned long long)storm_walks, (unsigned long long)storm_faults);
	/* The test means nothing if the guests got nowhere. */
	cr_assert_gt(storm_hits, 1000);
	cr_assert_gt(storm_walks, 1000);
	cr_assert_gt(storm_faults, 1000);
}
