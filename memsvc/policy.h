/* SPDX-License-Identifier: MIT */
/*
 * How memory is divided among domains: pure integer arithmetic, no state, any context.
 *
 * After Waldspurger, "Memory Resource Management in VMware ESX Server", OSDI '02, sections 4 to 6.
 * A domain has shares S and P pages, of which a fraction f is active. An idle page costs k = 1/(1 -
 * tax) times an active one, so the domain pays
 *	rho = S / (P * (f + k * (1 - f)))
 * shares per page. Min-funding revocation takes a page from whoever pays least and gives it to who
 * needs one, until all pay the same or are at their limits. With A = f * P active pages, the price
 * P * (f + k * (1 - f)) is A + k * (P - A), and P for P <= A. Equal rho means equal price per share,
 * so the end of all those moves is found directly: the one price x per share at which the targets
 *	T = P where price(P) = S * x, kept within [min, cap]
 * add up to the memory there is.
 */
#ifndef MEMSVC_POLICY_H
#define MEMSVC_POLICY_H

#include "core/types.h"

#define POLICY_TAX_DEFAULT 75
#define POLICY_SHARES_MAX 1000000u
#define POLICY_PAGES_MAX (1ULL << 24) /* of one domain */
#define POLICY_ONE 65536u	      /* the fraction 1 */

struct policy_dom {
	uint64_t min;	 /* pages; <= cap */
	uint64_t cap;	 /* pages: its max, or less when it has no use for more */
	uint64_t active; /* pages in use, estimated */
	uint32_t shares; /* 1..POLICY_SHARES_MAX */
	uint64_t target; /* result, pages */
};

/**
 * policy_targets() - divide @pages among @n domains at idle tax @tax (0..100 percent; 100 counts
 * as 99.99). Sets target of each; min <= target <= cap. Their sum is @pages, or the sum of the
 * minima (caps) when @pages is less (more) than that. Returns the sum.
 */
uint64_t policy_targets(struct policy_dom *d, unsigned n, uint64_t pages, unsigned tax);

/**
 * policy_rho() - shares per page at @pages pages, scaled by 2^32; for choosing who pays first.
 * UINT64_MAX for 0 pages.
 */
uint64_t policy_rho(const struct policy_dom *d, uint64_t pages, unsigned tax);

/* What is done about scarce memory. */
enum mem_state {
	MEM_HIGH, /* nothing */
	MEM_SOFT, /* balloons; swap from domains that have none */
	MEM_HARD, /* balloons and swap */
	MEM_LOW,  /* and domains above their targets wait */
	MEM_STATES
};

/** mem_state_name() - "high", "soft", "hard", "low". */
const char *mem_state_name(enum mem_state s);

/** policy_mark() - free frames at which a state's threshold lies: 6, 4, 2, 1 percent of @total. */
uint64_t policy_mark(enum mem_state s, uint64_t total);

/**
 * policy_state() - the state after @free of @total frames were found free in state @old. A state
 * is entered below its own threshold and left for the next better one only above that one's, so
 * that it does not swing: soft begins below 4% and ends above 6%.
 */
enum mem_state policy_state(enum mem_state old, uint64_t free, uint64_t total);

/** policy_overhead() - frames the hypervisor may need for a domain besides its own: records of
 * its names, hardware tables, vCPUs. */
uint64_t policy_overhead(uint64_t max_pages, unsigned vcpus);

/** policy_default_min(), policy_default_shares() - where the configuration says nothing: an eighth
 * of the memory; 10 shares per MiB. */
uint64_t policy_default_min(uint64_t max_pages);
uint32_t policy_default_shares(uint64_t max_pages);

#endif
