/* SPDX-License-Identifier: MIT */
/*
 * A domain's memory: names (gfn), the P2M behind them, its page tables and their hardware tables.
 *
 * Guests see names; only hardware tables (PG_HWTABLE), built here from the guest's tables and the
 * P2M, are ever walked by the MMU. The interfaces below are for one's own domain unless said.
 * Unless said otherwise: hypervisor context, RCU online, no sleeping, any pCPU, and any number of
 * pCPUs at once on the same mm. All are lock-free; see memsvc/pt.c and memsvc/rmap.h for how.
 */
#ifndef MEMSVC_MM_H
#define MEMSVC_MM_H

#include <stdint.h>
#include <xen/xen.h>

#include "core/types.h"
#include "memsvc/frame.h"
#include "percpu/tlb.h"

#include <xen/xen.h>

/* Highest number of names an ordinary domain can have: its memory is limited to 64 GiB less the
 * special names. Names must fit 32 bits (grant table v1). */
#define MM_MAX_NAMES (1UL << 24)
#define MM_SPECIAL_NAMES (1UL << 16)
#define MM_LINEAR_FIRST 64 /* blocks of 512 names: 128 MiB */

enum mm_kind {
	MMK_DATA,    /* private frames behind ordinary names, guest page tables included */
	MMK_SPECIAL, /* frames behind special names */
	MMK_HWTABLE, /* hardware tables, those waiting for reuse included */
	MMK_META,    /* P2M records, directories, rmap overflow */
	MMK_RETIRED, /* data frames given up, waiting for flush and grace period */
	MMK_KINDS,
	/* Not frames but ordinary names; changed together with the name's P2M word. */
	MMN_TOUCHED = MMK_KINDS, /* have had a frame of their own */
	MMN_SHARING,		 /* touched, and shared now; the zero frame included */
	MMN_ZERO,		 /* of these: the zero frame */
	MMN_SWAPPED,
	MMN_GONE,    /* given up by the guest */
	MMN_BROUGHT, /* of those sharing: had that frame before it was shared; see name.h */
	MMN_KINDS,
	/* Events since the domain's creation. */
	MMC_BROKEN = MMN_KINDS, /* shares broken by writes */
	MMC_SCANNED,		/* pages read by the scanner */
	MMC_HINTS,		/* pages entered in the sharing table as a hint */
	MMC_KINDS
};

#define MM_SHARDS 64
/* Counters in shards, so that pCPUs working on one domain do not share a line. */
struct mm_shard {
	_Atomic int64_t frames[MMC_KINDS];
	_Atomic int64_t tables_to; /* frames[MMK_HWTABLE] may reach this without a look at all */
} CACHE_ALIGNED;

struct rmap_node;

/* What a preempted operation of one vCPU left to do; touched by that vCPU only, and in its memory,
 * so that no line of it is another's. */
struct mm_work {
	uint64_t reap; /* mfn list of detached tables not swept yet, 0: none */
	uint64_t wip;  /* 1 + name of the table being built, which holds a reference; 0: none */
	struct mm_work *next;
	bool listed; /* in mm.works, for the teardown; from its first use on */
};

struct mm {
	/* Written at creation only. */
	domid_t domid;
	uint64_t max_pages; /* names 0..max_pages-1 are ordinary */
	uint64_t names;	    /* there are none from here on */
	uint64_t promised;  /* those below get a frame at first touch; see mm_promise_all() */
	_Atomic(uint64_t) *p2m_root;  /* 3-level radix; memsvc/p2m.h */
	bool root_inside, mid_inside; /* these of its nodes are in memory given to mm_init() */
	/* Block of 512 names -> its linear hardware L1: the first ones here, the others in pages. */
	_Atomic uint64_t linear_first[MM_LINEAR_FIRST] CACHE_ALIGNED;
	_Atomic uint64_t linear_root[MM_MAX_NAMES >> 18] CACHE_ALIGNED;
	/* Rarely written. */
	_Atomic bool
		over; /* has more than its share: waits while memory_tight. The controller's. */
	struct tlb_users users;
	_Atomic uint64_t special_next CACHE_ALIGNED;
	_Atomic uint64_t grow_hint;	      /* where increase_reservation looks for a free name */
	_Atomic(struct rmap_node *) ovf_free; /* free rmap nodes; see rmap.h */
	_Atomic uint64_t ovf_pages;	      /* mfn list of the pages they live in */
	_Atomic int64_t ovf_nr_pages;
	_Atomic int64_t ovf_rcu; /* nodes waiting for a grace period */
	_Atomic(struct mm_work *) works;
	struct {
		uint32_t phase;
		bool flushed; /* since the last vCPU ran */
		uint64_t cursor;
	} teardown;
	struct mm_work own_work;	  /* of what no vCPU does: the builder's */
	struct mm_shard shard[MM_SHARDS]; /* memory may end behind those in use: mm_bytes() */
};
_Static_assert(sizeof(struct mm) ==
		       offsetof(struct mm, shard) + MM_SHARDS * sizeof(struct mm_shard),
	       "nothing behind the shards");

/* ---- life ---------------------------------------------------------------------------------- */

/** mm_bytes() - how much of a struct mm needs memory, with as many pCPUs as there are now. */
size_t mm_bytes(void);

/**
 * mm_init() - empty address space for domain @domid with ordinary names 0..@max_pages-1, and as many
 * special ones, at least 512 and at most MM_SPECIAL_NAMES.
 * @room, @len: zeroed memory that lives as long as @mm, aligned to 64 bytes, where it keeps small
 * tables that otherwise take frames; may be NULL.
 * Returns 0, -XEN_EINVAL (too large), -XEN_ENOMEM.
 */
int mm_init(struct mm *mm, domid_t domid, uint64_t max_pages, void *room, size_t len);

/**
 * mm_promise_all() - all ordinary names of the (fresh) mm get a frame when they are first touched:
 * the zero frame until the first write. Nothing is allocated.
 */
void mm_promise_all(struct mm *mm);

/** mm_promise() - a name that was given up, of an mm with promised names, is promised again.
 * Returns 0, -XEN_EINVAL when it is not such a name. */
int mm_promise(struct mm *mm, gfn_t gfn);

/** mm_gfn_exists() - whether the name has a frame, or will have one when touched. */
bool mm_gfn_exists(struct mm *mm, gfn_t gfn);

/**
 * mm_populate() - put zeroed frames behind @n ordinary names from @gfn; names that already have
 * one are left alone. Returns the number of names now backed (== @n unless memory ran out).
 */
uint64_t mm_populate(struct mm *mm, gfn_t gfn, uint64_t n);

/**
 * mm_teardown() - return everything the domain holds; @budget limits the names or tables handled
 * by one call. No vCPU of it runs or will run; no one else enters (pinned names: unpin is not
 * needed). Call again until it returns true. Frames still under another pCPU's flush are waited
 * for in this way too, so leave some time between calls (other pCPUs must reach tlb_serve()).
 * On true all counters of mm_stats() are zero (BUG otherwise).
 */
bool mm_teardown(struct mm *mm, uint64_t budget);

struct mm_stats {
	int64_t frames[MMC_KINDS]; /* by enum mm_kind */
};
/** mm_stats() - frames held now, by kind. A snapshot; exact at rest. */
void mm_stats(const struct mm *mm, struct mm_stats *out);

/* ---- names --------------------------------------------------------------------------------- */

/** mm_gfn_to_mfn() - the frame behind a name now, for reading, brought back if it was swapped;
 * INVALID_MFN when there is none. It may change at any time after unless the name is pinned; valid
 * until the caller's next quiescent state. */
mfn_t mm_gfn_to_mfn(struct mm *mm, gfn_t gfn);

/** mm_gfn_get_writable() - the same for a frame the hypervisor is about to write: private to this
 * domain (a share is broken first), and not a live page table. INVALID_MFN when there is none. */
mfn_t mm_gfn_get_writable(struct mm *mm, gfn_t gfn);

/** mm_gfn_pin_special() - from now on the name keeps its frame: never shared, swapped or given up
 * by the guest (vcpu_info, rings). Returns the frame or INVALID_MFN. Not undone before teardown. */
mfn_t mm_gfn_pin_special(struct mm *mm, gfn_t gfn);

/** mm_special_name() - a fresh name above all ordinary ones; INVALID_GFN when used up. */
gfn_t mm_special_name(struct mm *mm);

/** mm_map_special() - put @mfn (from page_alloc(), state PG_HYP) behind special name @gfn. The
 * frame then belongs to the mm and is freed by its teardown. 0, -XEN_EINVAL, -XEN_ENOMEM. */
int mm_map_special(struct mm *mm, gfn_t gfn, mfn_t mfn);

/** mm_decrease() - take the frame from an ordinary name: all hardware entries for it are removed,
 * the frame is reused after flush and grace period. 0, -XEN_EINVAL (no frame, special),
 * -XEN_EBUSY (live page table, pinned name, or mapped more than RMAP_WALK_MAX times). */
int mm_decrease(struct mm *mm, gfn_t gfn);

/* ---- page tables --------------------------------------------------------------------------- */

/* Returned by the functions below when preempt_pending() became true in a long operation: call
 * again with the same arguments; what was done is kept. */
#define MM_PREEMPTED 1

/** mm_pin() - make @gfn a live page table of @level (1..4) and keep it so: build its hardware
 * tables. 0, MM_PREEMPTED, -XEN_EINVAL (no such page, other level, bad entry, mapped writable,
 * already pinned), -XEN_ENOMEM. */
int mm_pin(struct mm *mm, gfn_t gfn, unsigned level);

/** mm_unpin() - undo mm_pin(). 0, -XEN_EINVAL when it is not pinned. Follow with mm_reap(). */
int mm_unpin(struct mm *mm, gfn_t gfn);

/** mm_base_get() - reference to the level-4 table @gfn as a base pointer; *@hw_root is what CR3
 * must hold. Same results as mm_pin(). */
int mm_base_get(struct mm *mm, gfn_t gfn, mfn_t *hw_root);
/** mm_base_put() - drop it, after another CR3 was loaded. May be followed by mm_reap(). */
void mm_base_put(struct mm *mm, gfn_t gfn);

/**
 * mm_reap() - sweep the tables that operations of the current vCPU (no vCPU: of the builder)
 * dropped. 0 or MM_PREEMPTED: call again, or leave the rest to the vCPU's next operation; only
 * then are the guest tables below ordinary pages again.
 */
int mm_reap(struct mm *mm);

enum mm_fault_result {
	MM_FAULT_RETRY,	  /* put right (A, D, COW, late entry): run the instruction again */
	MM_FAULT_GUEST,	  /* the guest's own: deliver with the rebuilt error code */
	MM_FAULT_PTWRITE, /* guest kernel stored to a live page table mapped read-only: emulate it */
	MM_FAULT_NOMEM,	  /* no frame for it now: try again later */
};

/**
 * mm_fault() - resolve a page fault at guest address @va (outside slots 256..271).
 * @hw_root: hardware L4 in CR3; @ec: hardware error code; @guest_kernel: the vCPU is in
 * guest-kernel mode (U is rebuilt from it); *@guest_ec is set for MM_FAULT_GUEST.
 */
enum mm_fault_result mm_fault(struct mm *mm, mfn_t hw_root, uint64_t va, uint32_t ec,
			      bool guest_kernel, uint32_t *guest_ec);

/** mm_translate() - walk the guest's tables under @hw_root: *@guest_pte is the leaf as the guest
 * wrote it. 0 or -XEN_EFAULT when a level is not present. Does not set A or D. */
int mm_translate(struct mm *mm, mfn_t hw_root, uint64_t va, uint64_t *guest_pte);

/** mm_pt_read() - the aligned 8 bytes at @va, when @va maps a live page table. 0 or -XEN_EFAULT. */
int mm_pt_read(struct mm *mm, mfn_t hw_root, uint64_t va, uint64_t *val);

/**
 * mm_pt_cmpxchg() - emulated store to the page-table entry holding @va: if the aligned 8 bytes are
 * @old, make them @new (validated as by mmu_update) and bring the hardware entry in step.
 * Returns 0 with *@seen == @old on success; 0 with *@seen != @old when it had changed;
 * MM_PREEMPTED (nothing stored; run the instruction again, what was prepared is kept); -XEN_EFAULT
 * when @va does not map a live page table; mmu_update's errno when @new is refused.
 */
int mm_pt_cmpxchg(struct mm *mm, mfn_t hw_root, uint64_t va, uint64_t old, uint64_t new,
		  uint64_t *seen);

/* ---- machine-to-phys table ------------------------------------------------------------------ */

/**
 * mm_m2p_init() - allocate and fill the identity table (entry i == i) for names 0..@names-1,
 * rounded up to whole 2 MiB of table where contiguous memory allows. Boot, once. 0 or -XEN_ENOMEM.
 * The arch maps mm_m2p_first(), mm_m2p_frames() frames from it on, at MACH2PHYS_VIRT_START,
 * read-only with U=1, and nothing behind them.
 */
int mm_m2p_init(uint64_t names);
mfn_t mm_m2p_first(void);
uint64_t mm_m2p_frames(void);
/** mm_m2p_max() - highest name the table can be asked for. */
uint64_t mm_m2p_max(void);

#endif
