/* SPDX-License-Identifier: MIT */
/* Reading whole pages; see page_hash.h. */
#include "memsvc/page_hash.h"

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_SCALAR
/* Freestanding, memcpy() is a call even for a word. */
#define XXH_FORCE_MEMORY_ACCESS 1
#include <xxhash.h>

#define WORDS (PAGE_SIZE / sizeof(uint64_t))
#define LINE_WORDS (CACHE_LINE / sizeof(uint64_t))
#define PIECE 128 /* bytes hashed between two rounds of prefetching */

static uint64_t hash_seed;

void page_hash_seed(uint64_t seed)
{
	hash_seed = seed;
}

uint64_t page_hash(const void *page)
{
	return XXH64(page, PAGE_SIZE, hash_seed) | 1;
}

uint64_t page_hash_ahead(const void *page, const void *next)
{
	XXH64_state_t state;

	XXH64_reset(&state, hash_seed);
	for (unsigned at = 0; at < PAGE_SIZE; at += PIECE) {
#pragma GCC unroll 8
		for (unsigned i = 0; i < PIECE; i += CACHE_LINE)
			__builtin_prefetch((const char *)next + at + i);
		XXH64_update(&state, (const char *)page + at, PIECE);
	}
	return XXH64_digest(&state) | 1;
}

/* Another line of each step, so that structures of any size up to it are met. */
static inline size_t sample(unsigned i)
{
	return (size_t)i * SKETCH_STEP + i * 3 * CACHE_LINE % SKETCH_STEP;
}

uint64_t page_sketch(const void *page, const void *next)
{
	uint64_t any = 0;
	XXH64_state_t state;

	XXH64_reset(&state, ~hash_seed);
	for (unsigned i = 0; i < PAGE_SIZE / SKETCH_STEP; i++) {
		const uint64_t *w = (const uint64_t *)((const char *)page + sample(i));

		__builtin_prefetch((const char *)next + sample(i));
		any |= w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7];
		XXH64_update(&state, w, CACHE_LINE);
	}
	return any ? XXH64_digest(&state) | 1 : 0;
}

bool page_is_zero(const void *page)
{
	const uint64_t *w = page;

	for (unsigned i = 0; i < WORDS; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] |
		    w[i + 7])
			return false;
	return true;
}

static inline bool line_equal(const uint64_t *x, const uint64_t *y)
{
	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]) |
		 (x[5] ^ y[5]) | (x[6] ^ y[6]) | (x[7] ^ y[7]));
}

bool page_equal(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	for (unsigned at = 0; at < WORDS; at += LINE_WORDS)
		if (!line_equal(x + at, y + at))
			return false;
	return true;
}

bool page_equal_ahead(const void *a, const void *b, const void *next_a, const void *next_b)
{
	const uint64_t *x = a, *y = b;

	for (unsigned at = 0; at < WORDS; at += LINE_WORDS) {
		if (!line_equal(x + at, y + at))
			return false;
		__builtin_prefetch((const uint64_t *)next_a + at);
		__builtin_prefetch((const uint64_t *)next_b + at);
	}
	return true;
}
