/* SPDX-License-Identifier: MIT */
/*
 * The torture run (stress/torture.h) for a moment: the intact core passes, and each variant with one
 * step of a protocol left out is caught, which ends the process with TORTURE_CAUGHT.
 */
#include <criterion/criterion.h>
#include <time.h>

#include "stress/torture.h"

#ifdef __SANITIZE_THREAD__
#define OPS 4000
#else
#define OPS 30000
#endif

static void run(enum torture_variant variant, uint64_t rounds)
{
	const char *s = getenv("SEED");

	tc = (struct torture_config){.seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL),
				     .mutators = 4,
				     .scanners = 2,
				     .domains = 3,
				     .frames = TORTURE_FRAMES,
				     .ops = OPS,
				     .rounds = rounds};
	torture_variant = variant;
	printf("# SEED=%lu\n", (unsigned long)tc.seed);
	fflush(stdout);
	torture_run();
	torture_print();
}

Test(torture, intact)
{
	run(V_NONE, 8); /* each kind of round */
}

#ifndef __SANITIZE_THREAD__ /* which would speak first */

Test(torture, without_recheck, .exit_code = TORTURE_CAUGHT)
{
	run(V_NO_RECHECK, 100);
}

Test(torture, without_grace_period, .exit_code = TORTURE_CAUGHT)
{
	run(V_EARLY_FREE, 100);
}

Test(torture, without_flush, .exit_code = TORTURE_CAUGHT)
{
	run(V_NO_FLUSH, 100);
}

Test(torture, alias_writable_before_the_flush, .exit_code = TORTURE_CAUGHT)
{
	run(V_EARLY_ALIAS, 100);
}

Test(torture, back_from_swap_without_any_flush, .exit_code = TORTURE_CAUGHT)
{
	run(V_NO_SWAP_FLUSH, 100);
}

Test(torture, shares_broken_without_any_flush, .exit_code = TORTURE_CAUGHT)
{
	run(V_NO_SHARE_FLUSH, 100);
}

#endif
