/* SPDX-License-Identifier: MIT */
/* Reading whole pages; see page_hash.h. */
#include "memsvc/page_hash.h"

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_SCALAR
/* Freestanding, memcpy() is a call even for a word. */
#define XXH_FORCE_MEMORY_ACCESS 1
#include <xxhash.h>

#define PIECE 512 /* hashed between two rounds of prefetching */
#define WORDS (PAGE_SIZE / sizeof(uint64_t))

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
		for (unsigned i = 0; i < PIECE; i += CACHE_LINE)
			__builtin_prefetch((const char *)next + at + i);
		XXH64_update(&state, (const char *)page + at, PIECE);
	}
	return XXH64_digest(&state) | 1;
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

bool page_equal(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	for (unsigned i = 0; i < WORDS; i += 4)
		if ((x[i] ^ y[i]) | (x[i + 1] ^ y[i + 1]) | (x[i + 2] ^ y[i + 2]) |
		    (x[i + 3] ^ y[i + 3]))
			return false;
	return true;
}
