/* SPDX-License-Identifier: MIT */
/* A set of held pages; see set.h. Used by one vCPU only. */
#include "roles/set.h"
#include "rt/balloon.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"

#define WORDS (PAGE_SIZE / 8)
#define RANDOM_WORDS (WORDS / 2)
#define KEEP (2 * BALLOON_RESERVE)
#define GROW_PAGES 128UL /* most that one set_follow() adds */
#define GROW_NS 5000000ULL

struct held {
	volatile uint64_t *va;
	uint64_t writes; /* how often it was written; the page's word 1 says so, too */
};

static struct {
	struct held *page;
	unsigned long n, max;
	uint64_t key;
} set;

static uint64_t word(unsigned long i, unsigned int w)
{
	return mix64(set.key ^ mix64(i << 10 | w));
}

static void check(unsigned long i, unsigned int w, uint64_t want)
{
	uint64_t got = set.page[i].va[w];

	if (got != want)
		role_fail("page %lu pfn %lx at %p word %u: expected %lx, got %lx, then %lx", i,
			  virt_to_pfn(set.page[i].va), (void *)set.page[i].va, w, want, got,
			  set.page[i].va[w]);
}

/* Hold one page more, if that leaves enough free. */
static bool grow(void)
{
	struct held *h = &set.page[set.n];

	h->va = page_try_alloc(KEEP);
	if (!h->va)
		return false;
	h->writes = 0;
	for (unsigned int w = 0; w < RANDOM_WORDS; w++)
		h->va[w] = w == 1 ? 0 : word(set.n, w);
	set.n++;
	return true;
}

void set_init(unsigned long max, uint64_t seed)
{
	set.max = max;
	set.key = mix64(seed);
	set.page = pages_alloc((max * sizeof(*set.page) + PAGE_SIZE - 1) / PAGE_SIZE);
	for (unsigned long before = 0; set.n < max; before = set.n) {
		set_follow(max);
		if (set.n <= before)
			break;
		sleep_until(time_ns() + GROW_NS);
	}
}

unsigned long set_size(void)
{
	return set.n;
}

void set_follow(unsigned long want)
{
	unsigned long need = balloon_deficit();

	if (need) {
		while (need-- && set.n)
			page_free((void *)set.page[--set.n].va);
		balloon_adjust();
		return;
	}
	if (want > set.max)
		want = set.max;
	if (want > set.n + GROW_PAGES)
		want = set.n + GROW_PAGES;
	/* The balloon may be asked for more meanwhile. */
	while (set.n < want && !balloon_deficit() && grow())
		;
}

void set_touch(unsigned long i, bool write)
{
	struct held *h = &set.page[i];

	check(i, 0, word(i, 0));
	check(i, 1, h->writes);
	if (write)
		h->va[1] = ++h->writes;
}

void set_verify(unsigned long i)
{
	for (unsigned int w = 0; w < WORDS; w++)
		check(i, w, w == 1 ? set.page[i].writes : w < RANDOM_WORDS ? word(i, w) : 0);
}
