/* SPDX-License-Identifier: MIT */
/* The compressed store for tests: set up, found empty, and pages of several kinds to put there. */
#ifndef TESTS_SWAP_STORE_H
#define TESTS_SWAP_STORE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/host.h"
#include "core/xen_errno.h"
#include "memsvc/frame.h"
#include "memsvc/swap_lz4.h"
#include "memsvc/swap_slot.h"
#include "memsvc/swap_space.h"
#include "tests/seed.h"

#define FRAMES 6000

static struct swap_device *dev;
static uint64_t free_at_start;

static inline void memory(void)
{
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, (uint64_t)FRAMES << PAGE_SHIFT};

	host_arena_init(FRAMES);
	cr_assert_eq(frames_init(&r, 1), 0);
}

static inline void store_init(unsigned pcpus, uint64_t limit)
{
	dev = swap_lz4_init(pcpus, limit);
	cr_assert_not_null(dev);
	swap_use(dev);
	free_at_start = frames_free_count();
}

static inline struct swap_stats stats(void)
{
	struct swap_stats st;

	swap_stats(&st);
	return st;
}

/* Nothing is stored: all frames are back but the tables' and the one each pCPU is filling. */
static inline void check_empty(unsigned pcpus)
{
	struct swap_stats st = stats();

	cr_assert_eq(st.slots, 0);
	cr_assert_eq(st.slots_same, 0);
	cr_assert_eq(st.bytes, 0);
	cr_assert_eq(st.waiting, 0);
	cr_assert_eq(st.damaged, 0);
	cr_assert_leq(st.frames, pcpus, "%llu frames hold nothing", (unsigned long long)st.frames);
	cr_assert_eq(frames_free_count(), free_at_start - st.frames - st.table_frames,
		     "frames are lost");
}

/* What kinds pages are of; those behind KINDS the store refuses. */
enum kind { ZERO, SAME, TEXT, STRUCTS, MIXED, KINDS, RANDOM };

static inline void make_page(uint64_t *page, enum kind kind, uint64_t seed)
{
	static const char *const words[16] = {
		"the ",	   "page ", "of ",     "memory ",  "guest ", "and ", "frame ",	"a ",
		"domain ", "is ",   "shared ", "kernel\n", "0x",     "int ", "return ", "; "};
	uint64_t s = seed * 0x9e3779b97f4a7c15ULL | 1;
	char *p = (char *)page, *end = p + PAGE_SIZE;

	memset(page, 0, PAGE_SIZE);
	switch (kind) {
	case ZERO:
		break;
	case SAME:
		for (unsigned i = 0; i < 512; i++)
			page[i] = s;
		break;
	case TEXT:
		while (p < end) {
			const char *w = words[seed_to(&s, 16)];
			size_t n = MIN(strlen(w), (size_t)(end - p));

			while (n--)
				*p++ = *w++;
		}
		break;
	case STRUCTS:
		for (unsigned i = 0; i < 512; i += 8) {
			page[i] = 0xffff888000000000ULL | (seed_next(&s) & 0xffffc0);
			page[i + 1] = i;
			page[i + 5] = seed_next(&s) & 7;
		}
		break;
	case MIXED:
		for (unsigned i = 0, n = seed_to(&s, 340); i < n; i++)
			page[i] = seed_next(&s);
		break;
	default:
		for (unsigned i = 0; i < 512; i++)
			page[i] = seed_next(&s);
	}
	if (kind != SAME && kind != RANDOM && kind != ZERO)
		page[511] ^= seed; /* every seed another page */
}

#endif
