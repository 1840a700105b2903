/* SPDX-License-Identifier: MIT */
/*
 * Fills `pages` pages with patterns and keeps looking whether they are still
 * there. `same` percent of the pages hold what other guests' pages hold, too,
 * `zero` percent are zero, the rest is like no other page. In each round every
 * page is verified and `rewrite` percent are changed: by one word (which
 * a later round puts right again, so that the page is alike once more) or as a
 * whole, to a kind drawn anew. A page goes to another vCPU each round, and is
 * read and written by two mappings in turn.
 *
 * The run is what the seed says, whatever the timing: each page has its own
 * random numbers, and what it holds does not depend on which vCPU is first.
 *
 * `flip` is the round before which one bit is turned behind its back: then the
 * role must fail.
 */
#include "roles/roles.h"
#include "rt/balloon.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include <stdatomic.h>

#define WINDOW (TEST_BASE + 0x80000000UL)
#define WORDS (PAGE_SIZE / 8)
#define NO_POKE 0xffff
#define STEP 0x9e3779b97f4a7c15ULL

enum kind { ZERO, SAME, UNIQUE };
static const char *const kind_name[] = {"zero", "same", "unique"};

struct page {
	void *va;
	uint64_t rng;
	uint32_t id;   /* SAME: which of the common patterns; UNIQUE: how often rewritten */
	uint16_t poke; /* the word that differs, or NO_POKE */
	uint8_t kind;
};

static struct {
	struct page *page;
	unsigned long n, same, zero, rewrite;
	uint64_t common, own; /* keys of the patterns */
	bool alias;
	unsigned long round;
	_Atomic unsigned long verified, rewritten, poked;
} pat;

static uint64_t draw(struct page *p)
{
	p->rng += STEP;
	return mix64(p->rng);
}

static volatile uint64_t *view(unsigned long i, bool second)
{
	return second && pat.alias ? (uint64_t *)(WINDOW + i * PAGE_SIZE) : pat.page[i].va;
}

/* A page's word w is first + w * step. A quarter of the patterns do not compress, so that they cannot
 * be swapped; the others do a little and very much. */
static void content(unsigned long i, uint64_t *first, uint64_t *step)
{
	static const uint64_t steps[] = {STEP, 1UL << 56, 0, 0};
	const struct page *p = &pat.page[i];

	*first = *step = 0;
	if (p->kind == ZERO)
		return;
	*step = steps[p->id % ARRAY_LEN(steps)];
	*first = p->kind == SAME ? mix64(pat.common + p->id)
				 : mix64(pat.own ^ mix64((uint64_t)p->id << 32 | i));
}

static uint64_t poked_word(unsigned long i)
{
	const struct page *p = &pat.page[i];

	return mix64(pat.own + (i << 20 | p->poke) * STEP) | 1;
}

static uint64_t expected(unsigned long i, unsigned int w)
{
	uint64_t first, step;

	if (w == pat.page[i].poke)
		return poked_word(i);
	content(i, &first, &step);
	return first + w * step;
}

static void wrong(unsigned long i, const volatile uint64_t *p, unsigned int w, uint64_t got)
{
	const struct page *pg = &pat.page[i];

	role_fail("page %lu pfn %lx at %p word %u: expected %lx, got %lx, then %lx; %s id %u "
		  "poked %u, vcpu %u, round %lu",
		  i, virt_to_pfn(pg->va), (const void *)p, w, expected(i, w), got, p[w],
		  kind_name[pg->kind], pg->id, pg->poke, this_cpu()->id, pat.round);
}

static void verify(unsigned long i, bool second)
{
	const volatile uint64_t *p = view(i, second);
	uint64_t v, step, got;

	content(i, &v, &step);
	for (unsigned int w = 0; w < WORDS; w++, v += step) {
		got = p[w];
		if (got != v && (w != pat.page[i].poke || got != poked_word(i)))
			wrong(i, p, w, got);
	}
	/* The loop takes the old word for the new one. */
	if (pat.page[i].poke != NO_POKE && p[pat.page[i].poke] != poked_word(i))
		wrong(i, p, pat.page[i].poke, p[pat.page[i].poke]);
}

static void draw_kind(struct page *p)
{
	uint64_t r = draw(p);
	unsigned int percent = (unsigned int)(r % 100);

	p->poke = NO_POKE;
	p->kind = percent < pat.same ? SAME : percent < pat.same + pat.zero ? ZERO : UNIQUE;
	p->id = p->kind == SAME ? (uint32_t)((r >> 32) % pat.n) : p->id + 1;
}

static void fill(unsigned long i, bool second)
{
	volatile uint64_t *p = view(i, second);
	uint64_t v, step;

	content(i, &v, &step);
	for (unsigned int w = 0; w < WORDS; w++, v += step)
		p[w] = v;
}

static void change(unsigned long i, bool second)
{
	struct page *p = &pat.page[i];

	if (draw(p) % 4 == 0) {
		draw_kind(p);
		fill(i, second);
		atomic_fetch_add(&pat.rewritten, 1);
		return;
	}
	if (p->poke != NO_POKE) {
		unsigned int w = p->poke;

		p->poke = NO_POKE;
		view(i, second)[w] = expected(i, w);
	} else {
		p->poke = (uint16_t)(draw(p) % WORDS);
		view(i, second)[p->poke] = poked_word(i);
	}
	atomic_fetch_add(&pat.poked, 1);
}

static void one_round(void *arg)
{
	unsigned long verified = 0;

	(void)arg;
	for (unsigned long i = (this_cpu()->id + pat.round) % nr_cpus; i < pat.n; i += nr_cpus) {
		uint64_t r = draw(&pat.page[i]);

		verify(i, r & 1);
		verified++;
		if ((r >> 8) % 100 < pat.rewrite) {
			change(i, r & 2);
			verify(i, r & 4);
		}
	}
	atomic_fetch_add(&pat.verified, verified);
}

static void flip(void)
{
	unsigned long i = pat.page[0].rng % pat.n;

	view(i, false)[pat.page[0].rng >> 32 & (WORDS - 1)] ^= 1UL << pat.round % 64;
}

static void setup(uint64_t seed)
{
	xen_domain_handle_t handle = {0};
	uint64_t who[2];

	/* Guests of one seed still differ where they should, if the hypervisor tells them apart. */
	hc_version(XENVER_guest_handle, handle);
	memcpy(who, handle, sizeof(who));
	pat.own = mix64(seed ^ mix64(who[0] ^ mix64(who[1])));
	pat.common = mix64(arg_num("salt", 1)) << 1;
	pat.page = pages_alloc((pat.n * sizeof(struct page) + PAGE_SIZE - 1) / PAGE_SIZE);
	for (unsigned long i = 0; i < pat.n; i++) {
		struct page *p = &pat.page[i];

		p->va = page_alloc();
		p->rng = mix64(seed + i);
		draw_kind(p);
		/* At first alike pages are at the same place in all guests, and not alike inside. */
		if (p->kind == SAME)
			p->id = (uint32_t)i;
		fill(i, false);
		if (pat.alias)
			pt_map(kernel_l4, WINDOW + i * PAGE_SIZE,
			       MK_PTE(virt_to_mfn(p->va), PTE_KERN | PTE_NX));
	}
}

static void check_args(void)
{
	unsigned long per_page = PAGE_SIZE + sizeof(struct page) + 8 * (unsigned long)pat.alias;

	CHECK(pat.same + pat.zero <= 100 && pat.rewrite <= 100, "a percentage is over 100");
	CHECK(pat.n && (pages_left() - 128) * PAGE_SIZE / per_page > pat.n && pages_left() > 128,
	      "pages= does not fit in memory");
}

void role_pattern(void)
{
	uint64_t secs = arg_num("secs", 0), rounds = arg_num("rounds", 0), seed = rnd_init();
	uint64_t every = arg_num("every", 0) * 1000000000ULL, pause = arg_num("pause_ms", 0);
	uint64_t start, end, next, now, flip_at = arg_num("flip", 0);
	unsigned long out, in;

	pat.n = arg_num("pages", 256);
	pat.same = arg_num("same", 40);
	pat.zero = arg_num("zero", 20);
	pat.rewrite = arg_num("rewrite", 25);
	pat.alias = arg_num("alias", 1);
	check_args();
	smp_up_all();
	setup(seed);
	start = time_ns();
	end = start + (secs || rounds ? secs : 2) * 1000000000ULL;
	next = start + every;
	printf("mini: pattern ready pages=%lu t_ms=%lu\n", pat.n, start / 1000000);
	do {
		if (flip_at && pat.round + 1 == flip_at)
			flip();
		smp_call_all(one_round, NULL);
		pat.round++;
		now = time_ns();
		if (every && now >= next) {
			printf("mini: pattern t_ms=%lu rounds=%lu verified=%lu ballooned=%lu\n",
			       now / 1000000, pat.round, pat.verified, balloon_pages());
			next += every;
		}
		if (pause)
			sleep_until(now + pause * 1000000);
	} while (rounds ? pat.round < rounds : now < end);
	/* What the last round wrote. */
	for (unsigned long i = 0; i < pat.n; i++)
		verify(i, i & 1);
	balloon_totals(&out, &in);
	role_pass("vcpus=%u seed=%lu pages=%lu rounds=%lu verified=%lu rewritten=%lu poked=%lu "
		  "ballooned_out=%lu ballooned_in=%lu",
		  nr_cpus, seed, pat.n, pat.round, pat.verified, pat.rewritten, pat.poked, out, in);
}
