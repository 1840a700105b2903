/* SPDX-License-Identifier: MIT */
/*
 * Frame table: one 64-byte record per machine frame, and the frame allocator.
 *
 * Invariant: page_info.state is the frame's only type; it changes by a single atomic operation, and
 * type, owner and generation change together. A record is meaningful once its frame was allocated
 * for the first time: never-used frames come from an atomic bump over the memory ranges, of which
 * each pCPU claims a stretch at a time, and their records are written then, so boot touches none of
 * them.
 * Linearization: alloc and free at the state change; depot push and pop at the CAS of its head; a
 * run of never-used frames at the CAS of the stretch's word, or at the fetch_add of the bump.
 * The depot head carries a tag in its upper bits that every push and pop increments (ABA); records
 * are never unmapped, so reading the link of a magazine that was just popped is harmless.
 * Reclamation: page_free() gives a frame back at once; who needs a TLB flush or a grace period first
 * uses tlb_retire().
 */
#ifndef MEMSVC_FRAME_H
#define MEMSVC_FRAME_H

#include "core/arch.h"
#include "core/types.h"
#include "percpu/page_cache.h"

struct mm;
struct gfn_rec;

enum page_type {
	PG_FREE,
	PG_HYP,	    /* the hypervisor's own */
	PG_DOM,	    /* behind a domain's name; .dom */
	PG_HWTABLE, /* hardware page table; .hw */
	PG_META,    /* P2M records, directories, rmap overflow of a domain; .meta */
	PG_SHARED,  /* behind names of any domains, read-only; .dom; counted by refs */
	PG_TYPES
};

/* state: bits 0-7 type, 8-23 owner domid, 24-63 generation (bumped by every free) */
#define PG_STATE(type, owner, gen) \
	((uint64_t)(type) | (uint64_t)(owner) << 8 | (uint64_t)(gen) << 24)
#define PG_NO_OWNER 0xffff

struct page_info {
	_Atomic uint64_t state;
	union {
		struct {
			/* mfn: list of the free, of a retire batch, of tables to sweep */
			_Atomic uint64_t next;
			/* depot: frames in this magazine << 36 | mfn of the next magazine */
			_Atomic uint64_t mag_next;
		};
		void *rcu[2]; /* PG_HYP, PG_SHARED: waiting for a grace period */
	};
	/*
	 * Whoever has an mfn may look at a frame's rec in name_of_frame() while the frame goes over to
	 * another use, so what may be in its place is atomic too, and stored with release.
	 */
	union {
		struct {
			/* The name in front of it, or that was when it became shared; valid until it
			 * is freed resp. until no old leaf of that name is left. */
			struct gfn_rec *_Atomic rec;
			_Atomic uint32_t refs;	  /* names in front of it; see memsvc/name.h */
			_Atomic uint32_t refused; /* swap_pump.c's: when to try again */
			_Atomic uint64_t hash;	  /* the scanner's: of the content, once settled */
			_Atomic uint64_t settled; /* the guarded word that has settled */
			_Atomic uint16_t scan;	  /* the scanner's: when to look again */
			_Atomic uint8_t late;	  /* as hw.late */
			_Atomic uint32_t follow;  /* the scanner's: mfn seen behind the next name */
		} dom;
		struct {
			struct mm *_Atomic mm;
			struct gfn_rec *rec;   /* the guest table's name */
			_Atomic uint64_t *gpt; /* the guest's table, direct map */
			_Atomic uint64_t
				lin_base;	 /* L1: first name of the block it maps, or none */
			_Atomic uint16_t filled; /* entries below are in step with the guest's */
			uint8_t level;
			/* Retired, then entered once more for a moment: see percpu/tlb.h. */
			_Atomic uint8_t late;
			_Atomic uint32_t names; /* L1: mfn of its name page, 0: none; see rmap.h */
		} hw;
		struct {
			struct mm *_Atomic mm;
			uint64_t base; /* leaf of records: its first name */
		} meta;
	};
} CACHE_ALIGNED;
_Static_assert(sizeof(struct page_info) == 64, "one cache line per frame");
_Static_assert(offsetof(struct page_info, dom.follow) == offsetof(struct page_info, hw.names),
	       "read too late it still is 0 or the mfn of some frame");

extern struct page_info *frame_table;

/** page_of() - the record of a frame that has been allocated. */
static inline struct page_info *page_of(mfn_t m)
{
	return &frame_table[m.v];
}

/** mfn_of() - inverse of page_of(). */
static inline mfn_t mfn_of(const struct page_info *pi)
{
	return MFN(pi - frame_table);
}

static inline enum page_type page_type(const struct page_info *pi)
{
	return (enum page_type)(atomic_load_explicit(&pi->state, memory_order_acquire) & 0xff);
}

/** frame_rec(), table_mm(), meta_mm() - of a frame that is of that type and stays so. */
static inline struct gfn_rec *frame_rec(const struct page_info *pi)
{
	return atomic_load_explicit(&pi->dom.rec, memory_order_relaxed);
}
static inline struct mm *table_mm(const struct page_info *pi)
{
	return atomic_load_explicit(&pi->hw.mm, memory_order_relaxed);
}
static inline struct mm *meta_mm(const struct page_info *pi)
{
	return atomic_load_explicit(&pi->meta.mm, memory_order_relaxed);
}

struct mem_range {
	uint64_t base; /* bytes */
	uint64_t size;
};

/**
 * frames_init() - take over usable memory (boot, one CPU). Ranges are clipped to whole pages and
 * must not overlap; the record table is cut from one of them, from its end. All memory of the
 * ranges must be in the direct map. At most 64 ranges. Returns 0 or -XEN_ENOMEM.
 */
int frames_init(const struct mem_range *ranges, unsigned n);

#define PAGE_ALLOC_ZERO 1u

/* Memory is short: guests that have more than their share (mm.over) and touch new memory wait. Set by
 * the memory controller. */
extern _Atomic bool memory_tight;
/* There is less than plenty: frames come free as soon as they can, whatever line is touched for it
 * (percpu/tlb.h, percpu/rcu.h). Set by the same. */
extern _Atomic bool memory_short;

static inline bool memory_is_short(void)
{
	return unlikely(atomic_load_explicit(&memory_short, memory_order_relaxed));
}

/** share_zero_frame() - the frame of zeros behind every name that was never written; PG_SHARED. */
mfn_t share_zero_frame(void);

/**
 * page_alloc() - one frame in state PG_HYP. Lock-free; normally touches only this pCPU's line and the
 * frame's record. @flags: PAGE_ALLOC_ZERO. Returns INVALID_MFN when memory is exhausted.
 */
mfn_t page_alloc(unsigned flags);

/** page_alloc_urgent() - the same, from this pCPU's reserve when there is no other. For what the
 * hypervisor does to a guest's memory and can neither put off nor undo. On a pCPU. */
mfn_t page_alloc_urgent(unsigned flags);

/** page_reserve_init() - from now on each pCPU keeps a reserve: 1/128 of all memory together, but at
 * least 32 frames each. Once, all pCPUs published. */
void page_reserve_init(void);

/** page_free() - give a frame back now. Nobody may reach it any more. Any thread. */
void page_free(mfn_t m);

/** page_free_rcu() - free a PG_HYP frame after a grace period. This pCPU, RCU online. */
void page_free_rcu(mfn_t m);

/** page_set_type() - change type and owner in one step; BUG when it was not @from. */
void page_set_type(struct page_info *pi, enum page_type from, enum page_type to, uint16_t owner);

/**
 * frames_alloc_contig() - @n consecutive never-used frames, all PG_HYP, not zeroed. For boot-time
 * tables (per-pCPU areas, M2P, images). Returns the first, or INVALID_MFN when no run is left;
 * frames skipped on the way are freed, none is lost.
 */
mfn_t frames_alloc_contig(uint64_t n);

/** frames_total() - frames under management, the record table's excluded. */
uint64_t frames_total(void);
/** frames_free_count() - free frames: exact when nobody allocates, else a snapshot. */
uint64_t frames_free_count(void);
/** frames_max_mfn() - one above the highest managed mfn. */
uint64_t frames_max_mfn(void);

/* For percpu/page_cache.c only. */
bool frames_bump(uint64_t *next, uint64_t *end);
void frame_record_init(mfn_t m);
void depot_push(const struct magazine *m);
bool depot_pop(struct magazine *m);
/** frames_unclaimed() - there are free frames that are in no pCPU's cache, or were a moment ago. */
bool frames_unclaimed(void);

#endif
