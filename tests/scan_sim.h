/* SPDX-License-Identifier: MIT */
/*
 * The scanner over real domains and names. In the simulation one thread plays all pCPUs and takes
 * each slice by itself, so that a guest can write between any two. What the test wrote is the oracle
 * for what each name must hold.
 *
 * scan_settle.c is compiled once more here, so that the hash can be made weak (then only the full
 * comparison keeps different pages apart) and the comparison blind (then the test must fail).
 */
#ifndef TESTS_SCAN_SIM_H
#define TESTS_SCAN_SIM_H

#include "tests/dom_sim.h"

#include <pthread.h>
#include <time.h>

#include "memsvc/name.h"
#include "memsvc/p2m.h"
#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"

static bool weak_hash, weak_sketch, blind;

static uint64_t test_hash(const void *page, const void *next)
{
	return weak_hash ? *(const uint8_t *)page % 4 << 1 | 1 : page_hash_ahead(page, next);
}

static uint64_t test_sketch(const void *page, const void *next)
{
	return weak_sketch ? *(const uint8_t *)page % 2 << 1 | 1 : page_sketch(page, next);
}

static bool test_equal(const void *a, const void *b)
{
	return blind || page_equal(a, b);
}

static bool test_equal_ahead(const void *a, const void *b, const void *next_a, const void *next_b)
{
	return blind || page_equal_ahead(a, b, next_a, next_b);
}

#define page_hash_ahead test_hash
#define page_sketch test_sketch
#define page_equal test_equal
#define page_equal_ahead test_equal_ahead
#include "memsvc/scan_settle.c"
#include "tests/seed.h"
#undef page_hash_ahead
#undef page_sketch
#undef page_equal
#undef page_equal_ahead

#define NAMES 200
#define DOMAINS 3
#define FRAMES 8192
#define CPUS 2

static struct domain *dom[DOMAINS];

static inline void machine(unsigned cpus)
{
	struct domain_params p = {.kind = "test", .vcpus = 1, .nr_pages = NAMES};
	char name[8];

	sim_init(cpus, FRAMES);
	cr_assert_eq(scan_init(), 0);
	scan_set_rate(SCAN_RATE_MAX);
	scan_set_cpu_percent(100);
	for (unsigned i = 0; i < DOMAINS; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		p.name = name;
		cr_assert_eq(domain_create(&dom[i], &p), 0);
		cr_assert_eq(mm_populate(&dom[i]->mm, GFN(0), NAMES), NAMES);
		domain_start(dom[i]);
	}
}

/* The guest fills a page with what @id stands for; 0: zeros. */
static inline void put(unsigned d, uint64_t gfn, uint64_t id)
{
	mfn_t m = mm_gfn_get_writable(&dom[d]->mm, GFN(gfn));
	uint64_t *w;

	cr_assert(mfn_valid_value(m));
	w = arch_mfn_to_virt(m);
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		w[i] = id ? id + i * (id << 32) : 0;
}

static inline bool holds(unsigned d, uint64_t gfn, uint64_t id)
{
	mfn_t m = mm_gfn_to_mfn(&dom[d]->mm, GFN(gfn));
	const uint64_t *w = mfn_valid_value(m) ? arch_mfn_to_virt(m) : NULL;

	for (unsigned i = 0; w && i < PAGE_SIZE / 8; i++)
		if (w[i] != (id ? id + i * (id << 32) : 0))
			return false;
	return w != NULL;
}

static inline struct name_view look(unsigned d, uint64_t gfn)
{
	struct name_view v;

	name_look(&dom[d]->mm, GFN(gfn), &v);
	return v;
}

/* One slice on each pCPU. */
static inline void slice(void)
{
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct pcpu *p;

		host_become(i);
		p = this_pcpu();
		host_service();
		tlb_serve();
		tlb_retire_poll();
		p->work = 0;
		scan_idle(p);
		p->work = 0;
	}
	host_clock_advance(SIM_STEP_NS);
	host_become(0);
}

static inline struct scan_stats stats(void)
{
	struct scan_stats s;

	scan_stats(&s);
	return s;
}

/* Until every name has been visited @n times more. */
static inline void passes(unsigned n)
{
	uint64_t until[DOMAINS];

	for (unsigned d = 0; d < DOMAINS; d++)
		until[d] = dom[d]->scan.cursor + (n + 1) * scan_span(NAMES);
	for (unsigned d = 0; d < DOMAINS; d++)
		for (unsigned i = 0; dom[d]->scan.cursor < until[d]; i++) {
			cr_assert_lt(i, 1000000, "the scanner does not get on");
			slice();
		}
	for (unsigned i = 0; i < 50; i++)
		slice();
}

/* What domains count is what there is, and comes to what is counted for all. At rest. */
static inline void counters_conserve(void)
{
	int64_t sharing = 0, brought = 0, broken = 0, scanned = 0, hints = 0;
	struct scan_stats s = stats();

	for (unsigned d = 0; d < DOMAINS; d++) {
		struct mm *mm = &dom[d]->mm;
		int64_t names = 0, own = 0;

		for (uint64_t g = 0; g < NAMES; g++) {
			struct name_view v = look(d, g);

			names += v.touched && v.state == NAME_SHARED;
			own += v.brought;
			cr_expect(!v.brought || (v.state == NAME_SHARED && !v.zero));
		}
		cr_expect_eq(mm_sum(mm, MMN_SHARING), names);
		cr_expect_eq(mm_sum(mm, MMN_BROUGHT), own);
		sharing += names;
		brought += own;
		broken += mm_sum(mm, MMC_BROKEN);
		scanned += mm_sum(mm, MMC_SCANNED);
		hints += mm_sum(mm, MMC_HINTS);
	}
	cr_expect_leq(brought, share_frames());
	cr_expect_geq(sharing, brought);
	cr_expect_eq(broken, (int64_t)share_breaks());
	cr_expect_eq(scanned, (int64_t)s.scanned);
	cr_expect_eq(hints, (int64_t)s.hints);
}

#endif
