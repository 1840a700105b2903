/* SPDX-License-Identifier: MIT */
/* Division of memory; see policy.h. */
#include "memsvc/policy.h"

/* The idle-page cost k = 1/(1-tax) is 10000/r, r in 1/100 percent and never 0. */
#define TAX_UNIT 10000u
/* Price per share has 24 fractional bits: one step of it changes no target by more than a page. */
#define X_BITS 24
#define X_MAX ((POLICY_PAGES_MAX * (TAX_UNIT + 1)) << X_BITS)
_Static_assert(POLICY_SHARES_MAX <= 1u << X_BITS, "a step is at most a page");
_Static_assert(POLICY_PAGES_MAX *(TAX_UNIT + 1) < 1ULL << (63 - X_BITS), "X_MAX fits");

static unsigned untaxed(unsigned tax)
{
	return tax >= 100 ? 1 : (100 - tax) * 100;
}

/* Pages that @d has when the price per share is @x. Never falls as x rises. */
static uint64_t pages_at(const struct policy_dom *d, uint64_t x, unsigned r)
{
	unsigned __int128 wide = (unsigned __int128)x * d->shares >> X_BITS;
	/* What is beyond buys only idle pages above the cap. */
	uint64_t most = d->active + d->cap * TAX_UNIT;
	uint64_t c = wide < most ? (uint64_t)wide : most;

	if (c > d->active)
		c = d->active + (c - d->active) * r / TAX_UNIT;
	return MAX(d->min, MIN(c, d->cap));
}

static uint64_t sum_at(const struct policy_dom *d, unsigned n, uint64_t x, unsigned r)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += pages_at(&d[i], x, r);
	return sum;
}

uint64_t policy_targets(struct policy_dom *d, unsigned n, uint64_t pages, unsigned tax)
{
	unsigned r = untaxed(tax);
	uint64_t lo = 0, hi = X_MAX, left, sum;

	/* The highest price at which there is enough for all; mostly there is, at any price. */
	if (sum_at(d, n, hi, r) <= pages)
		lo = hi;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo + 1) / 2;

		if (sum_at(d, n, mid, r) <= pages)
			lo = mid;
		else
			hi = mid - 1;
	}
	sum = sum_at(d, n, lo, r);
	left = pages > sum ? pages - sum : 0;
	for (unsigned i = 0; i < n; i++) {
		/* One step further all would get more than there is: the first ones get it. */
		uint64_t more = pages_at(&d[i], lo + (lo < X_MAX), r) - pages_at(&d[i], lo, r);

		more = MIN(more, left);
		left -= more;
		sum += more;
		d[i].target = pages_at(&d[i], lo, r) + more;
	}
	return sum;
}

uint64_t policy_rho(const struct policy_dom *d, uint64_t pages, unsigned tax)
{
	uint64_t price = pages;

	if (!pages)
		return UINT64_MAX;
	if (pages > d->active)
		price = d->active + (pages - d->active) * TAX_UNIT / untaxed(tax);
	return ((uint64_t)d->shares << 32) / price;
}

const char *mem_state_name(enum mem_state s)
{
	static const char *const names[MEM_STATES] = {"high", "soft", "hard", "low"};

	return s < MEM_STATES ? names[s] : "?";
}

uint64_t policy_mark(enum mem_state s, uint64_t total)
{
	static const uint8_t percent[MEM_STATES] = {6, 4, 2, 1};

	return total * percent[s] / 100;
}

enum mem_state policy_state(enum mem_state old, uint64_t free, uint64_t total)
{
	enum mem_state s = old;

	while (s < MEM_LOW && free < policy_mark(s + 1, total))
		s++;
	if (s != old)
		return s;
	while (s > MEM_HIGH && free > policy_mark(s - 1, total))
		s--;
	return s;
}

uint64_t policy_overhead(uint64_t max_pages, unsigned vcpus)
{
	uint64_t records = max_pages / 64 + max_pages / 32768 + 4;
	/* Every name mapped twice, and the upper levels. */
	uint64_t tables = max_pages / 256 + 16;

	return records + tables + 32 + 4ULL * vcpus;
}

uint64_t policy_default_min(uint64_t max_pages)
{
	return max_pages / 8;
}

uint32_t policy_default_shares(uint64_t max_pages)
{
	uint64_t shares = max_pages * PAGE_SIZE * 10 >> 20;

	return (uint32_t)MAX(1UL, MIN(shares, (uint64_t)POLICY_SHARES_MAX));
}
