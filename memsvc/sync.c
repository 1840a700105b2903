/* SPDX-License-Identifier: MIT */
/* Keeping one hardware entry equal to the translation of the guest's; see pt.h. */
#include "memsvc/pt.h"

/* The second look: whether what was read first is no longer so. SYNC_POINT() marks where another
 * vCPU may come between. Both are names so that tests can widen the window and show that each look
 * is needed. */
#ifndef SYNC_CHANGED
#define SYNC_CHANGED(what, then, now) unlikely((then) != (now))
#define SYNC_POINT()
#endif

/* Whether entry @i of @pi maps @gfn linearly; registers the table when it can be. */
static inline bool is_linear(struct mm *mm, struct page_info *pi, unsigned i, uint64_t gfn)
{
	uint64_t base = atomic_load_explicit(&pi->hw.lin_base, memory_order_acquire);
	_Atomic uint64_t *lin;
	uint64_t none = 0;

	if (likely(base + i == gfn))
		return true;
	if ((gfn & (BLOCK_NAMES - 1)) != i || base != LIN_NONE)
		return false;
	lin = p2m_linear(mm, gfn);
	if (!lin || atomic_load_explicit(lin, memory_order_relaxed))
		return false;
	/* Claim the table for this block first, then the block for the table. */
	if (!atomic_compare_exchange_strong(&pi->hw.lin_base, &base, LIN_CLAIMED))
		return false;
	SYNC_POINT();
	if (!atomic_compare_exchange_strong(lin, &none, mfn_of(pi).v)) {
		atomic_store(&pi->hw.lin_base, LIN_NONE);
		return false;
	}
	/* The word is set before any entry relies on it. PAIRS: p2m_change */
	atomic_store(&pi->hw.lin_base, gfn - i);
	return true;
}

/* What this operation entered in a table that was detached meanwhile: the sweep may have passed. */
static void undo_late(struct mm_ctx *c, struct page_info *pi)
{
	table_forget_linear(pi);
	atomic_store_explicit(&pi->hw.late, 1, memory_order_release); /* PAIRS: tlb_late */
	c->flush = true;
}

/* The frame behind @word was given up while an entry for it was made. */
static inline void frame_late(struct mm_ctx *c, uint64_t word)
{
	/* PAIRS: tlb_late */
	atomic_store_explicit(&page_of(p2m_mfn(word))->dom.late, 1, memory_order_release);
	c->flush = true;
}

/* The hardware leaf for guest leaf @g (P and A set) behind which @word and @pt are now. */
static inline uint64_t translate(uint64_t g, uint64_t word, uint64_t pt)
{
	uint64_t hw;

	if (unlikely(word & P2M_SAMPLED))
		return 0;
	hw = p2m_mfn(word).v << PAGE_SHIFT | PTE_P | PTE_US | PTE_A | (g & PTE_NX);

	if ((g & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D) && !pt && !(word & P2M_RO))
		hw |= PTE_RW | PTE_D;
	return hw;
}

/* Whether leaf @old, for the frame that @rec has now, was entered as that name. */
static bool same_name(uint64_t old, uint64_t loc, struct gfn_rec *rec, uint64_t gfn)
{
	struct page_info *pi = page_of(MFN(loc >> 9));

	if (!(old & HW_SLOT)) /* present: linear */
		return atomic_load_explicit(&pi->hw.lin_base, memory_order_acquire) + (loc & 511) ==
		       gfn;
	if (!(old & HW_SHARED))
		return page_of(MFN(pte_frame(old)))->dom.rec == rec;
	return rmap_claimed(loc) == rec;
}

/*
 * Enter @new for a frame that may be replaced at any moment by a copy (its word has RO set). The
 * order of sync_leaf_rec(), entry first and second look then, would let a stale entry be used for
 * a moment, and show old data after another vCPU has written the copy. So it goes in as pending,
 * where the breaker's walk finds it, and becomes present only if the word is still the same; the
 * breaker's walk and this last step meet in one CAS. The pCPU's number makes the pending value
 * this mapper's own. False: it did not come to that, look again.
 */
static bool enter_unsteady(struct mm_ctx *c, _Atomic uint64_t *hwp, uint64_t loc,
			   struct gfn_rec *rec, uint64_t word, uint64_t new)
{
	struct pcpu *p = this_pcpu();
	uint64_t pending = (new & ~PTE_P) | HW_PENDING | (uint64_t)(p ? p->id : 0) << 52;
	uint64_t expect = pending;

	rmap_retract(atomic_exchange(hwp, pending), loc);
	SYNC_POINT();
	/* PAIRS: p2m_change */
	if (SYNC_CHANGED(word, word, atomic_load(&rec->word))) {
		frame_late(c, word); /* who takes it out meanwhile reads the frame's record */
		if (atomic_compare_exchange_strong(hwp, &expect, 0))
			rmap_retract(pending, loc);
		return false;
	}
	return atomic_compare_exchange_strong(hwp, &expect, new);
}

#define LOOK_AGAIN 1

/* One pass of sync_leaf_rec(); LOOK_AGAIN: something has changed meanwhile. */
static inline __attribute__((always_inline)) int leaf_pass(struct mm_ctx *c, struct page_info *pi,
							   unsigned i, struct gfn_rec *hint,
							   uint64_t hint_gfn)
{
	_Atomic uint64_t *hwp = &hw_entries(pi)[i];
	_Atomic uint64_t *gp = &pi->hw.gpt[i];
	uint64_t loc = rmap_loc(mfn_of(pi), i);
	uint64_t g = atomic_load_explicit(gp, memory_order_acquire);
	uint64_t old = atomic_load_explicit(hwp, memory_order_relaxed);
	uint64_t new = 0, word = 0;
	struct gfn_rec *rec = NULL;
	int rc = 0;

	if ((g & (PTE_P | PTE_A)) == (PTE_P | PTE_A)) {
		rec = likely(hint && pte_frame(g) == hint_gfn) ? hint
							       : p2m_rec(c->mm, pte_frame(g));
		word = rec ? atomic_load(&rec->word) : 0;
		if (likely(word & P2M_VALID))
			new = translate(g, word, atomic_load(&rec->pt));
		else if (!p2m_promised(c->mm, pte_frame(g), word))
			rc = -XEN_EINVAL;
	}
	if (!((old ^ new) & (PTE_ADDR | PTE_P)) && !(old & HW_PENDING) &&
	    (likely(!(word & P2M_SHARED)) || !new || same_name(old, loc, rec, pte_frame(g)))) {
		/* The same frame, or none: how it is recorded stays. */
		new |= old &(HW_SLOT | HW_SHARED);
		if (old != new && !atomic_compare_exchange_strong(hwp, &old, new))
			return LOOK_AGAIN;
	} else {
		if (new && !is_linear(c->mm, pi, i, pte_frame(g))) {
			int in = likely(!(word & P2M_SHARED))
					 ? !rmap_add(c->mm, rec, loc)
					 : rmap_claim(c->mm, rec, pte_frame(g), loc);

			if (likely(in > 0)) {
				new |= HW_SLOT | (word & P2M_SHARED ? HW_SHARED : 0);
			} else if (in == 0 && word & P2M_SHARED) {
				/* The present entry's, or a mapper's on its way in: then absent. */
				old = atomic_exchange(hwp, 0);
				rmap_retract(old, loc);
				if (old & HW_SHARED)
					return LOOK_AGAIN;
				new = 0;
			} else {
				new = 0;
				rc = -XEN_ENOMEM;
			}
		}
		SYNC_POINT();
		if (unlikely(new &&word &P2M_RO)) {
			if (!enter_unsteady(c, hwp, loc, rec, word, new))
				return LOOK_AGAIN;
		} else {
			old = atomic_exchange(hwp, new);
			rmap_retract(old, loc);
		}
	}
	SYNC_POINT();
	/* PAIRS: p2m_change */
	if (new) {
		if (SYNC_CHANGED(word, word, atomic_load(&rec->word))) {
			/* The frame may have been given up before the entry was there. */
			frame_late(c, word);
			return LOOK_AGAIN;
		}
		if (new &PTE_RW && SYNC_CHANGED(pt, 0, atomic_load(&rec->pt)))
			return LOOK_AGAIN;
	}
	/* PAIRS: pt_sync */
	if (SYNC_CHANGED(guest, g, atomic_load(gp)))
		return LOOK_AGAIN;
	/* PAIRS: pt_detach */
	if (SYNC_CHANGED(live, true, pt_live(pi))) {
		rmap_retract(atomic_exchange(hwp, 0), loc);
		undo_late(c, pi);
		return -XEN_EAGAIN;
	}
	return rc;
}

/* The further passes, apart: the first one is the usual way, and should keep no registers for these. */
static __attribute__((noinline, cold)) int
leaf_passes(struct mm_ctx *c, struct page_info *pi, unsigned i, const struct contention_site *site)
{
	struct retry_loop loop;
	int rc;

	retry_begin(&loop, site);
	do {
		retry(&loop);
		rc = leaf_pass(c, pi, i, NULL, 0);
	} while (rc == LOOK_AGAIN);
	retry_done(&loop);
	return rc;
}

int sync_leaf_rec(struct mm_ctx *c, struct page_info *pi, unsigned i, struct gfn_rec *hint,
		  uint64_t hint_gfn)
{
	CAS_SITE(site, "hardware leaf entry");
	int rc = leaf_pass(c, pi, i, hint, hint_gfn);

	return likely(rc != LOOK_AGAIN) ? rc : leaf_passes(c, pi, i, &site);
}

/*
 * One entry of a fresh L1, the common case: nothing there yet, one slot free or linear. Returns
 * false when it is anything else; then nothing was done. The caller looks whether the table is live
 * after all entries. *@leaf caches the last leaf of records.
 */
static inline bool fill_leaf(struct mm_ctx *c, _Atomic uint64_t *hwp, const _Atomic uint64_t *gp,
			     uint64_t loc, uint64_t g, bool linear, struct gfn_rec *rec)
{
	uint64_t word, pt, new, none = 0;

	word = atomic_load(&rec->word);
	pt = atomic_load(&rec->pt);
	if ((word & (P2M_VALID | P2M_RO | P2M_SAMPLED)) != P2M_VALID || (g & PTE_RW && pt) ||
	    atomic_load_explicit(hwp, memory_order_relaxed))
		return false;
	new = translate(g, word, pt);
	if (!linear) {
		/* Publish, then the entry. PAIRS: p2m_change */
		if (atomic_load_explicit(&rec->slot[0], memory_order_relaxed) ||
		    !atomic_compare_exchange_strong(&rec->slot[0], &none, loc))
			return false;
		new |= HW_SLOT;
	}
	none = atomic_exchange(hwp, new);
	if (unlikely(none))
		rmap_retract(none, loc);
	SYNC_POINT();
	/* PAIRS: p2m_change, PAIRS: pt_sync */
	if (SYNC_CHANGED(word, word, atomic_load(&rec->word))) {
		frame_late(c, word);
		return false; /* the slow way puts it right */
	}
	return !((new &PTE_RW &&SYNC_CHANGED(pt, 0, atomic_load(&rec->pt))) ||
		 SYNC_CHANGED(guest, g, atomic_load(gp)));
}

int sync_fill_l1(struct mm_ctx *c, struct page_info *pi)
{
	_Atomic uint64_t *gp = pi->hw.gpt, *hw = hw_entries(pi);
	uint64_t lin = LIN_NONE, leaf_no = UINT64_MAX, loc = rmap_loc(mfn_of(pi), 0);
	struct gfn_rec *leaf = NULL;
	int rc = 0;

	for (unsigned i = 0; i < 512; i += 8) {
		if (!any8(&gp[i]))
			continue;
		for (unsigned j = i; j < i + 8; j++) {
			uint64_t g = atomic_load_explicit(&gp[j], memory_order_acquire), gfn, word;
			struct gfn_rec *rec;
			int src;

			if (!(g & PTE_P))
				continue;
			gfn = pte_frame(g);
			if (unlikely(gfn / RECS_PER_LEAF != leaf_no)) {
				rec = p2m_rec(c->mm, gfn);
				if (!rec) {
					if (gfn < c->mm->promised)
						continue; /* entered when touched */
					rc = -XEN_EINVAL;
					goto out;
				}
				leaf = rec - gfn % RECS_PER_LEAF;
				leaf_no = gfn / RECS_PER_LEAF;
			}
			rec = &leaf[gfn % RECS_PER_LEAF];
			word = atomic_load_explicit(&rec->word, memory_order_relaxed);
			if (!(word & P2M_VALID) && p2m_promised(c->mm, gfn, word) &&
			    !atomic_load_explicit(&hw[j], memory_order_relaxed))
				continue;
			if (likely(g & PTE_A) && likely(lin != LIN_NONE || gfn % 512 != j) &&
			    likely(fill_leaf(c, &hw[j], &gp[j], loc + j, g, lin + j == gfn, rec)))
				continue;
			/* Sync even what is refused: the fast way may have entered it. */
			rc = leaf_check(c->mm, g, &rec);
			src = sync_leaf(c, pi, j);
			rc = rc ? rc : src;
			if (unlikely(rc))
				goto out;
			lin = atomic_load_explicit(&pi->hw.lin_base, memory_order_acquire);
			if (lin >= MM_MAX_NAMES)
				lin = LIN_NONE;
		}
	}
out:
	/* Detached meanwhile: what was entered after the sweep is this one's to undo. PAIRS: pt_detach */
	if (SYNC_CHANGED(live, true, pt_live(pi))) {
		table_clear_l1(pi);
		undo_late(c, pi);
		return -XEN_EAGAIN;
	}
	return rc;
}

int sync_table_entry(struct mm_ctx *c, struct page_info *pi, unsigned i)
{
	_Atomic uint64_t *hwp = &hw_entries(pi)[i];
	_Atomic uint64_t *gp = &pi->hw.gpt[i];
	CAS_LOOP(loop, "hardware table entry");

	if (pi->hw.level == 4 && i - HYP_SLOT_FIRST < HYP_SLOTS)
		return 0;
	for (;; retry(&loop)) {
		uint64_t g = atomic_load_explicit(gp, memory_order_acquire);
		struct page_info *child = NULL;
		uint64_t new = 0, old;
		int rc = 0;

		if (g & PTE_P) {
			rc = g & TABLE_DISALLOW
				     ? -XEN_EINVAL
				     : table_get(c, pte_frame(g), pi->hw.level - 1, &child);
			if (!rc)
				new = mfn_of(child).v << PAGE_SHIFT | PTE_P | PTE_US | PTE_A |
				      (g & (PTE_RW | PTE_NX));
		}
		SYNC_POINT();
		old = atomic_exchange(hwp, new);
		if (old & PTE_P)
			table_put(c, page_of(MFN(pte_frame(old))));
		SYNC_POINT();
		/* PAIRS: pt_sync */
		if (SYNC_CHANGED(guest, g, atomic_load(gp)))
			continue;
		/* PAIRS: pt_detach */
		if (SYNC_CHANGED(live, true, pt_live(pi))) {
			old = atomic_exchange(hwp, 0);
			if (old & PTE_P)
				table_put(c, page_of(MFN(pte_frame(old))));
			return -XEN_EAGAIN;
		}
		return rc;
	}
}
