/* SPDX-License-Identifier: MIT */
/*
 * Reverse map: from a name to the hardware leaf entries that map it.
 *
 * A leaf entry is found in one of two ways, and says itself which (HW_SLOT):
 *   - linear: the hardware L1 is registered (CAS) for a block of 512 names and entry i maps name
 *     i of the block. Kernel direct maps are of this kind and cost nothing here.
 *   - slot: its location (table's mfn << 9 | index) is in an inline slot of the name's record, or
 *     in a node of the name's overflow tree.
 * Invariant: at rest the slots of a name hold each location once per HW_SLOT entry for it. While a
 * mapper is under way there may be one more copy. Who exchanges an entry out of a table, and only
 * he, takes one copy out.
 * A slot entry for a private frame leads to its name by the frame's record. One for a shared frame
 * (HW_SHARED) does so by the table's name page: 512 words, made when the first is needed, freed
 * with the table. Word i is 1 + the name that entry i maps, and belongs to the one entry or mapper
 * that put it there (CAS from 0) until the entry has been exchanged out again (store of 0 by who
 * did that). A mapper that finds it taken leaves the entry absent.
 * Linearization: the CAS of the slot. Every operation writes only the record and nodes of its own
 * name.
 *
 * Overflow tree: Linux maps its zero page and its libraries any number of times, so adding and
 * removing must not depend on how often. Each node has 8 slots and 4 children; a location is in
 * some node on the path that its hash gives, two bits per level.
 * Node life: used counts slots and children in use, and adders who hold a place; who takes it from
 * 1 to 0 writes RMAP_DEAD instead, for ever. A node that is linked and not dead keeps its
 * ancestors alive. A dead one is unlinked by whoever meets it (CAS of its link); the one who did
 * drops the parent's count and reuses the node after a grace period, so a link that a CAS compares
 * against cannot have been away and back (no ABA). Walkers are RCU readers. Node pages are charged
 * to the domain and bounded by its number of hardware tables; they go back at its end.
 */
#ifndef MEMSVC_RMAP_H
#define MEMSVC_RMAP_H

#include "memsvc/p2m.h"
#include "percpu/rcu.h"

#define RMAP_NODE_SLOTS 8
#define RMAP_DEAD UINT64_MAX
/* Locations that one walk visits at most. */
#define RMAP_WALK_MAX 4096

struct rmap_node {
	_Atomic uint64_t used;
	uint64_t parent; /* node | its child number there; 0: the root, linked by the record */
	_Atomic(struct rmap_node *) child[4];
	_Atomic uint64_t slot[RMAP_NODE_SLOTS];
	struct rcu_head rcu;
};
_Static_assert(sizeof(struct rmap_node) == 2 * CACHE_LINE, "two lines per node");

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

/**
 * rmap_claim() - rmap_add() for an entry of a shared frame: takes entry @loc's word of the name
 * page, too. 1, 0 when another mapper or entry has it, -XEN_ENOMEM.
 */
int rmap_claim(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t loc);

/** rmap_claimed() - the name an entry at @loc with HW_SHARED maps: its record. */
struct gfn_rec *rmap_claimed(uint64_t loc);

void rmap_release(uint64_t loc);

/** rmap_retract() - after exchanging leaf @old out of entry @loc. */
static inline void rmap_retract(uint64_t old, uint64_t loc)
{
	if (!(old & HW_SLOT) || !(old & (PTE_P | HW_PENDING)))
		return;
	if (unlikely(old & HW_SHARED))
		rmap_release(loc);
	else
		rmap_del(frame_rec(page_of(MFN(pte_frame(old)))), loc);
}

/** rmap_clear_all() - remove every leaf entry that maps frame @m (INVALID_MFN: any) as name @gfn. After
 * the P2M word was changed; the caller flushes. */
void rmap_clear_all(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m);

/** rmap_protect_all() - take RW from every leaf entry that maps frame @m as name @gfn. As above. */
void rmap_protect_all(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m);

/** rmap_too_many() - whether the name has more slots than a walk may visit. */
bool rmap_too_many_nodes(struct rmap_node *n);
static inline bool rmap_too_many(struct gfn_rec *rec)
{
	struct rmap_node *n = atomic_load(&rec->ovf);

	return unlikely(n) && rmap_too_many_nodes(n);
}

/** rmap_any_writable() - whether a writable leaf entry for frame @m as name @gfn is found, or there
 * are too many to look at. */
bool rmap_any_writable(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m);

#endif
