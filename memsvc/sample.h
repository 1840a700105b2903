/* SPDX-License-Identifier: MIT */
/*
 * Working sets by statistical sampling, after Waldspurger, OSDI '02, section 5.3.
 *
 * In each period the mappings of some random names are cut; a name that the guest has reached again
 * at the end was in use. The fraction f of such names feeds a slow and a fast moving average, and
 * while a period runs its count so far feeds a third value, the fast average as it would be. The
 * estimate is the highest of the three: it rises at once and falls slowly.
 *
 * A period is measured in the guest's run time; an idle guest's ends after twice that in real time,
 * or its estimate would never fall.
 *
 * The arithmetic (sampler_*) is pure; all fractions are of POLICY_ONE.
 */
#ifndef MEMSVC_SAMPLE_H
#define MEMSVC_SAMPLE_H

#include "core/types.h"

struct mm;

#define SAMPLE_MAX 256
#define SAMPLE_LOOKS 8 /* looks at the running period's count */

struct sampler {
	uint32_t n;		      /* names under sample */
	uint32_t touched;	      /* of them, seen to be in use so far in this period */
	uint32_t looks;		      /* looks in this period so far */
	bool primed;		      /* a whole period has been seen */
	uint32_t slow, fast;	      /* averages over whole periods */
	uint64_t began_ns, began_run; /* real and run time of the period's begin */
	uint64_t rng;
	uint32_t gfn[SAMPLE_MAX];
};

/** sampler_period_end() - @touched of @n names were in use in the period that is over. */
void sampler_period_end(struct sampler *s, uint32_t touched, uint32_t n);

/** sampler_estimate() - active fraction; POLICY_ONE before the first period is over. */
uint32_t sampler_estimate(const struct sampler *s);

/**
 * sample_step() - begin, look at, or end @mm's period, whatever is due at @now_ns. @run_ns: the
 * guest's run time so far, all vCPUs. @period_ns: length; @pages: names in it, up to SAMPLE_MAX.
 * True when the estimate may have changed. Hypervisor context, RCU online, one caller at a time.
 */
bool sample_step(struct sampler *s, struct mm *mm, uint64_t now_ns, uint64_t run_ns,
		 uint64_t period_ns, unsigned pages);

#endif
