/* SPDX-License-Identifier: MIT */
/*
 * Per-pCPU page cache: a magazine of free frames and up to eight full spare ones, in front of a
 * shared depot.
 *
 * Invariant: a frame is in exactly one of {never allocated, a pCPU's bump run, a magazine of one
 * pCPU, the depot, a pCPU's reserve, in use}. A magazine is a list through page_info.next; only its
 * pCPU touches it, so alloc and free are plain loads and stores on this pCPU's line and on the frame's
 * own record.
 *
 * Spares give hysteresis: bursts of up to 512 frames, taken and given back, touch the depot only
 * until there are enough. All spares together hold at most 1/64 of the memory, but each pCPU may
 * keep one; and it keeps no more once the depot is empty and no memory is unused, that is, while
 * others may be short.
 *
 * Beside them each pCPU holds a reserve of page_reserve_size frames, which only what cannot wait may
 * take: the hypervisor's own accesses to a guest's memory. The exit path refills it from whatever is
 * free before any guest gets a frame, and enters no guest while there are fewer than page_reserve_low
 * (core/memory_wait.h): so what one exit needs is there, whatever the state of memory. Frames in the
 * reserve count as in use.
 */
#ifndef PERCPU_PAGE_CACHE_H
#define PERCPU_PAGE_CACHE_H

#include "core/types.h"

#define MAGAZINE_SIZE 64
#define PAGE_CACHE_SPARES 8 /* of a pCPU: 2 MiB */

struct magazine {
	uint64_t head; /* mfn of the first frame when n > 0 */
	uint32_t n;
};

/* Private to its pCPU, except the two counters, which others read for an exact sum at rest. All
 * zero is an empty cache. */
struct page_cache {
	struct magazine loaded;
	uint64_t spares; /* full magazines: first frame of the newest, then through mag_next */
	uint32_t nr_spares;
	uint64_t bump_next; /* run of never-used frames taken from the frame allocator */
	uint64_t bump_end;
	_Atomic uint64_t allocs; /* frames handed out; single writer */
	_Atomic uint64_t frees;	 /* frames taken back; single writer */
	struct magazine reserve;
	bool urgent;  /* what runs now may take from the reserve */
	bool refused; /* the last that did found it empty */
} CACHE_ALIGNED;

/* Frames that each pCPU's reserve has when full, and that it must have for a guest to be entered. Set
 * once, when memory comes under control; 0: there is none. */
extern _Atomic unsigned page_reserve_size, page_reserve_low;

/** page_cache_get() - a free frame, or INVALID_MFN when the machine has none left. This pCPU. */
mfn_t page_cache_get(struct page_cache *c);

/** page_cache_put() - give a frame back (its state is PG_FREE already). This pCPU. */
void page_cache_put(struct page_cache *c, mfn_t m);

/** page_cache_get_reserve() - one of the reserve; INVALID_MFN when that is used up too. This pCPU. */
mfn_t page_cache_get_reserve(struct page_cache *c);

/** page_cache_short() - whether the reserve is not full. This pCPU. */
static inline bool page_cache_short(const struct page_cache *c)
{
	return c->reserve.n < atomic_load_explicit(&page_reserve_size, memory_order_relaxed);
}

/** page_cache_refill() - fill the reserve as far as there are free frames. Whether it has
 * page_reserve_low now. This pCPU. */
bool page_cache_refill(struct page_cache *c);

/** page_cache_drain() - return everything to the depot (idle pCPUs, tests). This pCPU. */
void page_cache_drain(struct page_cache *c);

#endif
