/* SPDX-License-Identifier: MIT */
/*
 * Guest memory that the machine's own MMU maps: the arena's frames are in one memfd, and each
 * domain has a range of addresses (its view) in which page g maps the frame behind name g, as its
 * hardware tables say. Write protection, replaced mappings and faults of a view are real ones:
 *   guarded        mprotect() of a batch: one call and one TLB flush for all its pages
 *   other frame    the batch is unmapped (one TLB flush) and mapped anew, run by run, read-only;
 *                  zero frame: anonymous memory, for which the kernel has its own zero page
 *   fault          SIGSEGV in the thread that writes: it enters the hypervisor as its pCPU, runs
 *                  mm_fault(), and maps what the name means then
 * That is the cheapest way found. userfaultfd's write protection costs the same as mprotect(), and
 * one page more or less is cheaper; but with it the runs must be cut out of a mapping one by one,
 * which costs half as much again as mapping all of them into a hole.
 *
 * The MMU that Xylem drives on bare metal changes an entry with the same instruction that
 * decides a race. Here the decision (CAS of the word) and the system call are two steps, so a
 * mutex per view keeps a fault out from the first to the second. The core knows nothing of it.
 */
#ifndef SHARE_BENCH_VIEW_H
#define SHARE_BENCH_VIEW_H

#include <pthread.h>

#include "core/domain.h"

/* Pages in one call, at most. The more, the fewer flushes, and the more of what the kernel needs is
 * still in the cache; a write to them waits until all are mapped, for some 10 ms. */
#define VIEW_BATCH 8192

struct view {
	struct mm *mm;
	mfn_t root; /* of its hardware tables, for mm_fault() */
	uint8_t *base;
	uint64_t pages;
	uint32_t *mfn; /* mapped now */
	pthread_mutex_t lock;
};

/** view_arena() - host_arena_init(), with all frames in a memfd; installs the fault handlers. */
void view_arena(uint64_t frames);

/** view_open() - map names 0..@pages-1 of @mm, all private. */
void view_open(struct view *v, struct mm *mm, mfn_t root, uint64_t pages);

void view_lock(struct view *v);
void view_unlock(struct view *v);

/** view_protect() - take write access from @n names from @first. Locked. */
void view_protect(struct view *v, uint64_t first, uint64_t n);

/** view_follow() - map for @n names from @first, protected before, what they mean now, and have the
 * kernel fill in its page tables. All stay protected. Locked. */
void view_follow(struct view *v, uint64_t first, uint64_t n);

struct view_stats {
	_Atomic uint64_t faults; /* taken by the writer */
	uint64_t maps;		 /* mappings of the process, at most; see vm.max_map_count */
	uint64_t remaps;	 /* mmap() calls to replace pages */
};
extern struct view_stats view_stats;

#endif
