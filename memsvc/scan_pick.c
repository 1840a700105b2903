/* SPDX-License-Identifier: MIT */
/*
 * Which names the scanner visits. All scanners of a domain draw from its one cursor, a stretch at a
 * time, so each name is visited once per pass whoever comes by. Stretches are in proportion to the
 * domain's size: one after the other, all domains get through a pass in the same time.
 */
#include "core/domain.h"
#include "memsvc/scan_impl.h"
#include "percpu/pcpu.h"

#define RUN_BITS 6
#define RUN (1u << RUN_BITS)
#define POLL 8 /* looks between two at whether the pCPU is wanted */
#define STRETCH_MIN 64
#define STRETCHES 256 /* per pass of a large domain */

struct domain *scan_domain_get(const struct scanner *s)
{
	struct domain *d = s->domain ? domain_by_id(s->domid) : NULL;

	return d == s->domain && d && d->start_ns == s->start_ns ? d : NULL;
}

uint64_t scan_span(uint64_t names)
{
	return names < 2 ? 1 : 1ULL << (64 - __builtin_clzll(names - 1));
}

/*
 * Random order: runs of 2^RUN_BITS neighbours, in an order of runs that depends on the pass. Memory
 * gives runs several times as fast as single pages. The order is a bijection: two rounds of multiply
 * by an odd number and fold the upper bits into the lower ones.
 */
uint64_t scan_place(uint64_t v, uint64_t names, enum scan_order order)
{
	uint64_t span = scan_span(names), mask = (span - 1) >> RUN_BITS, x = v >> RUN_BITS & mask;
	uint64_t key = (v & ~(span - 1)) * 0x9e3779b97f4a7c15ULL ^ 0xd1b54a32d192ed03ULL;
	unsigned half = mask ? (64 - (unsigned)__builtin_clzll(mask)) / 2 : 0; /* of its bits */

	if (order == SCAN_SEQUENTIAL || !half)
		return v & (span - 1);
	for (unsigned i = 0; i < 2; i++) {
		x = (x * (key | 1) + (key >> 32)) & mask;
		x ^= x >> half;
		key = key * 0xbf58476d1ce4e5b9ULL + 0x94d049bb133111ebULL;
	}
	return x << RUN_BITS | (v & (RUN - 1));
}

/* The next domain that may be scanned now; else *@due is when the first of them may. */
static bool next_domain(struct scanner *s, uint64_t now, uint64_t *due)
{
	*due = TIME_NEVER;
	for (unsigned i = 0; i < MAX_DOMAINS; i++) {
		struct domain *d;
		uint64_t at, n;

		s->domid = (domid_t)(s->domid % MAX_DOMAINS + 1);
		d = domain_by_id(s->domid);
		if (!d)
			continue;
		at = scan_due(&d->scan);
		*due = MIN(*due, at);
		if (at > now)
			continue;
		n = MAX(scan_span(d->mm.max_pages) / STRETCHES, (uint64_t)STRETCH_MIN);
		s->domain = d;
		s->start_ns = d->start_ns;
		s->at = atomic_fetch_add_explicit(&d->scan.cursor, n, memory_order_relaxed);
		s->end = s->at + n;
		return true;
	}
	return false;
}

bool scan_pick(struct scanner *s, uint64_t now, uint64_t *due)
{
	enum scan_order order = scan_order();
	struct domain *d = scan_domain_get(s);
	uint64_t gfn = 0, run;

	if (!d || s->at == s->end) {
		s->n = 0; /* more than 0 only when that domain has gone */
		if (!next_domain(s, now, due))
			return false;
		d = s->domain;
	}
	if (!s->n) {
		s->begun_ns = now;
		s->taken_over = false;
	}
	/* Within a run the names follow each other. */
	run = MIN(scan_span(d->mm.max_pages), (uint64_t)RUN);
	for (unsigned i = 0; i < SCAN_SLICE * 8 && s->at != s->end && s->n < SCAN_BATCH; i++) {
		enum scan_verdict v;

		if (i % POLL == 0 && preempt_pending())
			break;
		gfn = i && s->at % run ? gfn + 1 : scan_place(s->at, d->mm.max_pages, order);
		s->at++;
		if (gfn >= d->mm.max_pages)
			continue;
		s->looks++;
		v = scan_visit(&d->mm, GFN(gfn), &s->page[s->n]);
		s->n += v != SCAN_SKIP;
		s->taken_over |= v == SCAN_TAKE_OVER;
	}
	return true;
}
