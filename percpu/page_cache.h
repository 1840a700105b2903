/* SPDX-License-Identifier: MIT */
/*
 * Per-pCPU page cache: two magazines of free frames in front of a shared depot.
 *
 * Invariant: a frame is in exactly one of {never allocated, a pCPU's bump run, a magazine of one
 * pCPU, the depot, in use}. A magazine is a list through page_info.next; only its pCPU touches it,
 * so alloc and free are plain loads and stores on this pCPU's line and on the frame's own record.
 * Two magazines give hysteresis: 64 frees must follow 64 allocations before the depot is touched.
 */
#ifndef PERCPU_PAGE_CACHE_H
#define PERCPU_PAGE_CACHE_H

#include "core/types.h"

#define MAGAZINE_SIZE 64

struct magazine {
	uint64_t head; /* mfn of the first frame when n > 0 */
	uint32_t n;
};

/* Private to its pCPU, except the two counters, which others read for an exact sum at rest. All
 * zero is an empty cache. */
struct page_cache {
	struct magazine mag[2]; /* [0] is loaded, [1] spare */
	uint64_t bump_next;	/* run of never-used frames taken from the frame allocator */
	uint64_t bump_end;
	_Atomic uint64_t allocs; /* frames handed out; single writer */
	_Atomic uint64_t frees;	 /* frames taken back; single writer */
} CACHE_ALIGNED;

/** page_cache_get() - a free frame, or INVALID_MFN when the machine has none left. This pCPU. */
mfn_t page_cache_get(struct page_cache *c);

/** page_cache_put() - give a frame back (its state is PG_FREE already). This pCPU. */
void page_cache_put(struct page_cache *c, mfn_t m);

/** page_cache_drain() - return everything to the depot (idle pCPUs, tests). This pCPU. */
void page_cache_drain(struct page_cache *c);

#endif
