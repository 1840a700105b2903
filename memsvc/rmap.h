/* SPDX-License-Identifier: MIT */
/*
 * Reverse map: from a name to the hardware leaf entries that map it.
 *
 * A leaf entry is found in one of two ways, and says itself which (HW_SLOT):
 *   - linear: the hardware L1 is registered (CAS) for a block of 512 names and entry i maps name
 *     i of the block. Kernel direct maps are of this kind and cost nothing here.
 *   - slot: its location (table's mfn << 9 | index) is in an inline slot of the name's record, or
 *     in a chunk of 5 slots on the record's overflow list.
 * Invariant: at rest the slots of a name hold each location once per HW_SLOT entry for it. While a
 * mapper is under way there may be one more copy. Who exchanges an entry out of a table, and only
 * he, takes one copy out.
 * Linearization: the CAS of the slot. Every operation writes only the record of its own name.
 * Chunks: pushed at the head (CAS). A chunk leaves when it is the head, empty and frozen (all its
 * slots CASed from 0 to FROZEN), and is reused after a grace period, so a head that a CAS
 * compares against cannot have been away and back (no ABA). Walkers are RCU readers. Chunk pages
 * are charged to the domain and bounded by its number of hardware tables; they go back at its end.
 */
#ifndef MEMSVC_RMAP_H
#define MEMSVC_RMAP_H

#include "memsvc/p2m.h"
#include "percpu/rcu.h"

#define RMAP_CHUNK_SLOTS 5
#define RMAP_FROZEN UINT64_MAX

struct rmap_chunk {
	_Atomic(struct rmap_chunk *) next;
	_Atomic uint64_t slot[RMAP_CHUNK_SLOTS];
	struct rcu_head rcu;
};
_Static_assert(sizeof(struct rmap_chunk) == CACHE_LINE, "one line per chunk");

/* Location of entry @i of the hardware table in frame @m. */
static inline uint64_t rmap_loc(mfn_t m, unsigned i)
{
	return m.v << 9 | i;
}

int rmap_add_slow(struct mm *mm, struct gfn_rec *rec, uint64_t loc);
void rmap_del_slow(struct gfn_rec *rec, uint64_t loc);

/** rmap_add() - record @loc. Full fence. 0 or -XEN_ENOMEM. */
static inline int rmap_add(struct mm *mm, struct gfn_rec *rec, uint64_t loc)
{
	for (unsigned i = 0; i < RMAP_INLINE; i++) {
		uint64_t none = 0;

		if (!atomic_load_explicit(&rec->slot[i], memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&rec->slot[i], &none, loc))
			return 0;
	}
	return rmap_add_slow(mm, rec, loc);
}

/** rmap_del() - take one copy of @loc out; there is one (BUG otherwise). */
static inline void rmap_del(struct gfn_rec *rec, uint64_t loc)
{
	for (unsigned i = 0; i < RMAP_INLINE; i++) {
		uint64_t have = loc;

		if (atomic_load_explicit(&rec->slot[i], memory_order_relaxed) == loc &&
		    atomic_compare_exchange_strong(&rec->slot[i], &have, 0))
			return;
	}
	rmap_del_slow(rec, loc);
}

/** rmap_retract() - after exchanging leaf @old out of entry @loc. */
static inline void rmap_retract(uint64_t old, uint64_t loc)
{
	if ((old & (PTE_P | HW_SLOT)) == (PTE_P | HW_SLOT))
		rmap_del(page_of(MFN(pte_frame(old)))->dom.rec, loc);
}

/** rmap_clear_all() - remove every leaf entry that maps frame @m as name @gfn. After the P2M word
 * was changed; the caller flushes. */
void rmap_clear_all(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m);

/** rmap_any_writable() - whether a writable leaf entry for frame @m as name @gfn is found. */
bool rmap_any_writable(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m);

#endif
