/* SPDX-License-Identifier: MIT */
/*
 * The division of memory: cases worked by hand from the paper's formula, and properties over random
 * machines against revocation done literally, page by page.
 */
#include "memsvc/policy.h"
#include "tests/seed.h"

#include <criterion/criterion.h>

#define N_MAX 40

static uint64_t rng;

static uint64_t rnd_to(uint64_t n)
{
	return (seed_next(&rng) >> 11) % n;
}

static struct policy_dom dom(uint64_t min, uint64_t cap, uint64_t active, uint32_t shares)
{
	return (struct policy_dom){.min = min, .cap = cap, .active = active, .shares = shares};
}

/*
 * Two guests of equal shares and 256 MiB share 360 MiB; one is idle, the other uses all. Without a
 * tax they get 180 MiB each. At 75% an idle page costs k = 4: 4 * T1 = T2 would be 72 and 288,
 * but no guest gets more than it was promised: 104 and 256.
 */
Test(policy, equal_shares_one_idle)
{
	struct policy_dom d[2] = {dom(0, 65536, 0, 1000), dom(0, 65536, 65536, 1000)};

	cr_assert_eq(policy_targets(d, 2, 92160, 0), 92160);
	cr_assert_eq(d[0].target, 46080);
	cr_assert_eq(d[1].target, 46080);
	cr_assert_eq(policy_targets(d, 2, 92160, 75), 92160);
	cr_assert_eq(d[0].target, 92160 - 65536);
	cr_assert_eq(d[1].target, 65536);
	/* With less to divide nobody is at a limit: one to four. */
	cr_assert_eq(policy_targets(d, 2, 50000, 75), 50000);
	cr_assert_eq(d[0].target, 10000);
	cr_assert_eq(d[1].target, 40000);
	/* A tax of one half, k = 2: one to two. */
	policy_targets(d, 2, 60000, 50);
	cr_assert_eq(d[0].target, 20000);
	cr_assert_eq(d[1].target, 40000);
}

/*
 * The first uses 10000 pages of what it has, the second all. k = 4: 10000 + 4 * (T1 - 10000) = T2
 * and T1 + T2 = 70000, so T1 = 20000 (f = 1/2) and T2 = 50000.
 */
Test(policy, partly_idle)
{
	struct policy_dom d[2] = {dom(0, 100000, 10000, 7), dom(0, 100000, 100000, 7)};

	cr_assert_eq(policy_targets(d, 2, 70000, 75), 70000);
	cr_assert_eq(d[0].target, 20000);
	cr_assert_eq(d[1].target, 50000);
	/* rho of the first: S / (P * (f + k * (1 - f))) = 7 / (20000 * 2.5). */
	cr_assert_eq(policy_rho(&d[0], 20000, 75), (7ULL << 32) / 50000);
	cr_assert_eq(policy_rho(&d[1], 50000, 75), (7ULL << 32) / 50000);
}

/* Shares 2 to 1, both busy: pages 2 to 1, whatever the tax. */
Test(policy, shares)
{
	for (unsigned tax = 0; tax <= 100; tax += 25) {
		struct policy_dom d[2] = {dom(0, 90000, 90000, 2000), dom(0, 90000, 90000, 1000)};

		cr_assert_eq(policy_targets(d, 2, 60000, tax), 60000);
		cr_assert_eq(d[0].target, 40000);
		cr_assert_eq(d[1].target, 20000);
	}
}

/* At 100% all that is idle may be taken, and min stands. */
Test(policy, full_tax_and_min)
{
	struct policy_dom d[2] = {dom(0, 50000, 5000, 100), dom(0, 50000, 50000, 100)};

	policy_targets(d, 2, 55000, 100);
	cr_assert(d[0].target >= 5000 && d[0].target <= 5005, "%llu",
		  (unsigned long long)d[0].target);
	d[0].min = 12000;
	policy_targets(d, 2, 55000, 100);
	cr_assert_eq(d[0].target, 12000);
	cr_assert_eq(d[1].target, 43000);
	/* Nothing but idle pages: what there is gets used all the same. */
	struct policy_dom idle[2] = {dom(0, 50000, 0, 300), dom(0, 50000, 0, 100)};

	cr_assert_eq(policy_targets(idle, 2, 40000, 100), 40000);
	cr_assert_eq(idle[0].target, 30000);
}

Test(policy, limits)
{
	struct policy_dom d[3] = {dom(10, 100, 50, 1), dom(20, 200, 0, 9), dom(30, 30, 0, 5)};

	/* More than all may have; less than all must have; nothing; nobody. */
	cr_assert_eq(policy_targets(d, 3, 1000, 75), 330);
	cr_assert(d[0].target == 100 && d[1].target == 200 && d[2].target == 30);
	cr_assert_eq(policy_targets(d, 3, 50, 75), 60);
	cr_assert(d[0].target == 10 && d[1].target == 20 && d[2].target == 30);
	cr_assert_eq(policy_targets(d, 3, 0, 0), 60);
	cr_assert_eq(policy_targets(d, 0, 5, 0), 0);
	/* The extremes of every field. */
	struct policy_dom big[2] = {dom(0, POLICY_PAGES_MAX, 0, 1),
				    dom(0, POLICY_PAGES_MAX, POLICY_PAGES_MAX, POLICY_SHARES_MAX)};

	cr_assert_eq(policy_targets(big, 2, 2 * POLICY_PAGES_MAX, 100), 2 * POLICY_PAGES_MAX);
	cr_assert_eq(policy_targets(big, 2, POLICY_PAGES_MAX, 100), POLICY_PAGES_MAX);
	cr_assert_eq(big[0].target, 0);
}

/* P * (f + k * (1 - f)) by the formula's own terms, in floating point. */
static double rho(const struct policy_dom *d, uint64_t p, unsigned tax)
{
	double f = d->active < p ? (double)d->active / (double)p : 1;
	double k = tax >= 100 ? 10000 : 1 / (1 - tax / 100.0);

	return d->shares / ((double)p * (f + k * (1 - f)));
}

static unsigned random_domains(struct policy_dom *d, uint64_t most)
{
	unsigned n = 1 + (unsigned)rnd_to(N_MAX);

	for (unsigned i = 0; i < n; i++) {
		uint64_t cap = rnd_to(most) + 1;

		d[i] = dom(rnd_to(3) ? rnd_to(cap + 1) / 4 : 0, cap, rnd_to(cap + cap / 4 + 1),
			   1 + (uint32_t)rnd_to(rnd_to(2) ? 20 : POLICY_SHARES_MAX));
		if (!rnd_to(8))
			d[i].min = cap;
	}
	return n;
}

/*
 * Sums are exact and limits kept; and nobody could be made to pay for another: a domain that could
 * give a page has no lower rho, beyond a page of rounding, than one that could take it.
 */
Test(policy, properties)
{
	struct policy_dom d[N_MAX];

	rng = seed_from_env();
	for (unsigned round = 0; round < 3000; round++) {
		unsigned n = random_domains(d, 1 + rnd_to(POLICY_PAGES_MAX));
		unsigned tax = (unsigned)rnd_to(101);
		uint64_t mins = 0, caps = 0, sum = 0, pages;

		for (unsigned i = 0; i < n; i++) {
			mins += d[i].min;
			caps += d[i].cap;
		}
		pages = rnd_to(caps + caps / 4 + 1);
		cr_assert_eq(policy_targets(d, n, pages, tax), MAX(mins, MIN(pages, caps)));
		for (unsigned i = 0; i < n; i++) {
			cr_assert_geq(d[i].target, d[i].min);
			cr_assert_leq(d[i].target, d[i].cap);
			sum += d[i].target;
		}
		cr_assert_eq(sum, MAX(mins, MIN(pages, caps)));
		for (unsigned i = 0; i < n; i++)
			for (unsigned j = 0; j < n; j++)
				if (d[i].target > d[i].min + 2 && d[j].target + 2 < d[j].cap)
					cr_assert(rho(&d[i], d[i].target - 2, tax) >=
							  rho(&d[j], d[j].target + 2, tax),
						  "round %u tax %u: %u has %llu, %u has %llu",
						  round, tax, i, (unsigned long long)d[i].target, j,
						  (unsigned long long)d[j].target);
	}
}

/* Min-funding revocation done literally ends where the closed form says, up to rounding. */
Test(policy, literal_revocation)
{
	struct policy_dom d[N_MAX];
	uint64_t has[N_MAX];

	rng = seed_from_env();
	for (unsigned round = 0; round < 200; round++) {
		unsigned n = random_domains(d, 300), tax = (unsigned)rnd_to(100);
		uint64_t mins = 0, pages, used;

		for (unsigned i = 0; i < n; i++)
			mins += d[i].min;
		pages = mins + rnd_to(100ULL * n);
		pages = policy_targets(d, n, pages, tax);
		/* All have their caps; the poorest payer gives a page until they fit. */
		used = 0;
		for (unsigned i = 0; i < n; i++)
			used += has[i] = d[i].cap;
		while (used > pages) {
			unsigned victim = n;

			for (unsigned i = 0; i < n; i++)
				if (has[i] > d[i].min &&
				    (victim == n ||
				     rho(&d[i], has[i], tax) < rho(&d[victim], has[victim], tax)))
					victim = i;
			cr_assert_lt(victim, n);
			has[victim]--;
			used--;
		}
		for (unsigned i = 0; i < n; i++)
			cr_assert(has[i] <= d[i].target + 2 && d[i].target <= has[i] + 2,
				  "round %u: domain %u has %llu, literally %llu", round, i,
				  (unsigned long long)d[i].target, (unsigned long long)has[i]);
	}
}

/* More tax never gives more to who is idler, all else being equal. */
Test(policy, tax_is_monotone)
{
	rng = seed_from_env();
	for (unsigned round = 0; round < 500; round++) {
		uint64_t cap = 1000 + rnd_to(100000), pages = 2 * cap * (1 + rnd_to(9)) / 10;
		uint64_t a = rnd_to(cap), b = a + rnd_to(cap), last = UINT64_MAX;

		for (unsigned tax = 0; tax <= 100; tax += 5) {
			struct policy_dom d[2] = {dom(0, cap, a, 10), dom(0, cap, b, 10)};

			policy_targets(d, 2, pages, tax);
			cr_assert_leq(d[0].target, last == UINT64_MAX ? last : last + 1);
			cr_assert_leq(d[0].target, d[1].target + 1);
			last = d[0].target;
		}
	}
}

/* 6/4/2/1 percent of 10000 frames, and each state is left only above the next one's threshold. */
Test(policy, states)
{
	static const struct {
		uint64_t free;
		enum mem_state s;
	} walk[] = {
		{10000, MEM_HIGH}, {600, MEM_HIGH}, {400, MEM_HIGH},  {399, MEM_SOFT},
		{600, MEM_SOFT},   {601, MEM_HIGH}, {199, MEM_HARD},  {400, MEM_HARD},
		{401, MEM_SOFT},   {200, MEM_SOFT}, {99, MEM_LOW},    {200, MEM_LOW},
		{201, MEM_HARD},   {50, MEM_LOW},   {5000, MEM_HIGH}, {0, MEM_LOW},
	};
	enum mem_state s = MEM_HIGH;

	for (size_t i = 0; i < ARRAY_SIZE(walk); i++) {
		s = policy_state(s, walk[i].free, 10000);
		cr_assert_eq(s, walk[i].s, "step %zu: %s", i, mem_state_name(s));
	}
}

Test(policy, defaults)
{
	cr_assert_eq(policy_default_min(65536), 8192);
	cr_assert_eq(policy_default_shares(65536), 2560);
	cr_assert_eq(policy_default_shares(1), 1);
	cr_assert_eq(policy_default_shares(POLICY_PAGES_MAX), 655360);
	/* 256 MiB: 4 MiB of records, 1 MiB of tables, and little else. */
	cr_assert(policy_overhead(65536, 1) > 1280 && policy_overhead(65536, 1) < 1400);
}
