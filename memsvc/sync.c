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

/* The first writable leaf since the name was last flushed. */
__attribute__((cold)) bool writable_first(struct gfn_rec *rec)
{
	uint64_t pt = 0;

	/* Before the leaf. PAIRS: pt_rw */
	return atomic_compare_exchange_strong(&rec->pt, &pt, PT_RW) || pt == PT_RW;
}

/* The hardware leaf for guest leaf @g (P and A set) behind which @word is now. */
static inline uint64_t translate(uint64_t g, uint64_t word, bool writable)
{
	uint64_t hw = p2m_mfn(word).v << PAGE_SHIFT | PTE_P | PTE_US | PTE_A | (g & PTE_NX);

	if ((g & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D) && writable)
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
		return frame_rec(page_of(MFN(pte_frame(old)))) == rec;
	return rmap_claimed(loc) == rec;
}

#define LOOK_AGAIN 1
#define LEFT_OUT 2 /* another entry or mapper has what this one needs: absent */

/* Whether @new is for the same frame as @old, or both for none. */
static inline bool same_frame(uint64_t old, uint64_t new)
{
	return !((old ^ new) & (PTE_ADDR | PTE_P | HW_PENDING));
}

/* How an entry of the same frame is recorded stays. */
static inline int enter_same(_Atomic uint64_t *hwp, uint64_t old, uint64_t new)
{
	new |= old &(HW_SLOT | HW_SHARED);
	return old == new || atomic_compare_exchange_strong(hwp, &old, new) ? 0 : LOOK_AGAIN;
}

/* Enter @new: for the one frame of a name that may be mapped writable, the usual case, or none. */
static inline __attribute__((always_inline)) int enter_steady(struct mm_ctx *c,
							      struct page_info *pi, unsigned i,
							      struct gfn_rec *rec, uint64_t gfn,
							      uint64_t new)
{
	uint64_t loc = rmap_loc(mfn_of(pi), i);
	_Atomic uint64_t *hwp = &hw_entries(pi)[i];
	uint64_t old = atomic_load_explicit(hwp, memory_order_relaxed);
	int rc = 0;

	if (same_frame(old, new))
		return enter_same(hwp, old, new);
	if (new && !is_linear(c->mm, pi, i, gfn)) {
		rc = rmap_add(c->mm, rec, loc);
		new = likely(!rc) ? new | HW_SLOT : 0;
	}
	SYNC_POINT();
	rmap_retract(atomic_exchange(hwp, new), loc);
	return rc;
}

/*
 * Enter @new for a frame that may be replaced at any moment by a copy (its word has RO set). The
 * order of leaf_enter(), entry first and second look then, would let a stale entry be used for
 * a moment, and show old data after another vCPU has written the copy. So it goes in as pending,
 * where the breaker's walk finds it, and becomes present only if the word is still the same; the
 * breaker's walk and this last step meet in one CAS. The pCPU's number makes the pending value
 * this mapper's own.
 */
static int enter_pending(struct mm_ctx *c, _Atomic uint64_t *hwp, uint64_t loc, struct gfn_rec *rec,
			 uint64_t word, uint64_t new)
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
		return LOOK_AGAIN;
	}
	return atomic_compare_exchange_strong(hwp, &expect, new) ? 0 : LOOK_AGAIN;
}

/* enter_steady() for guest leaf @g and a frame behind a word with RO set. */
static __attribute__((noinline)) int enter_unsteady(struct mm_ctx *c, struct page_info *pi,
						    unsigned i, struct gfn_rec *rec, uint64_t g,
						    uint64_t word)
{
	uint64_t loc = rmap_loc(mfn_of(pi), i), gfn = pte_frame(g);
	uint64_t new = translate(g, word, false);
	_Atomic uint64_t *hwp = &hw_entries(pi)[i];
	uint64_t old = atomic_load_explicit(hwp, memory_order_relaxed);

	/* The guest's next access makes it one that has entries. */
	if (p2m_merged(word)) {
		rmap_retract(atomic_exchange(hwp, 0), loc);
		return LEFT_OUT;
	}
	if (same_frame(old, new) && (!(word & P2M_SHARED) || same_name(old, loc, rec, gfn)))
		return enter_same(hwp, old, new);
	if (!is_linear(c->mm, pi, i, gfn)) {
		bool shared = word & P2M_SHARED;
		int in = shared ? rmap_claim(c->mm, rec, gfn, loc) : !rmap_add(c->mm, rec, loc);

		if (unlikely(in <= 0)) {
			/* Taken by the present entry, or by a mapper on its way in. */
			old = atomic_exchange(hwp, 0);
			rmap_retract(old, loc);
			if (in < 0 || !shared)
				return -XEN_ENOMEM;
			return old & HW_SHARED ? LOOK_AGAIN : LEFT_OUT;
		}
		new |= HW_SLOT | (shared ? HW_SHARED : 0);
	}
	SYNC_POINT();
	return enter_pending(c, hwp, loc, rec, word, new);
}

/*
 * Bring entry @i of @pi in step with guest leaf @g, for which the first look found @rec, @word (0 when
 * @g is not present or names nothing) and @rw. LOOK_AGAIN: something has changed meanwhile.
 */
static inline __attribute__((always_inline)) int leaf_enter(struct mm_ctx *c, struct page_info *pi,
							    unsigned i, uint64_t g,
							    struct gfn_rec *rec, uint64_t word,
							    bool rw)
{
	uint64_t new = 0;
	int rc;

	if (word & P2M_VALID && likely(g & PTE_A && !(word & P2M_SAMPLED)))
		new = translate(g, word, rw && !(word & P2M_RO));
	if (likely(!new || !(word & P2M_RO)))
		rc = enter_steady(c, pi, i, rec, pte_frame(g), new);
	else
		rc = enter_unsteady(c, pi, i, rec, g, word);
	if (unlikely(rc)) {
		if (rc == LOOK_AGAIN)
			return rc;
		new = 0;
		rc = rc == LEFT_OUT ? 0 : rc;
	}
	SYNC_POINT();
	/* PAIRS: p2m_change */
	if (new) {
		if (SYNC_CHANGED(word, word, atomic_load(&rec->word))) {
			/* The frame may have been given up before the entry was there. */
			frame_late(c, word);
			return LOOK_AGAIN;
		}
		/* PAIRS: pt_rw */
		if (new &PTE_RW && SYNC_CHANGED(pt, PT_RW, atomic_load(&rec->pt))) {
			c->flush = true; /* the table's maker may have flushed before */
			return LOOK_AGAIN;
		}
	}
	/* PAIRS: pt_sync */
	if (SYNC_CHANGED(guest, g, atomic_load(&pi->hw.gpt[i])))
		return LOOK_AGAIN;
	/* PAIRS: pt_detach */
	if (SYNC_CHANGED(live, true, pt_live(pi))) {
		uint64_t loc = rmap_loc(mfn_of(pi), i);

		rmap_retract(atomic_exchange(&hw_entries(pi)[i], 0), loc);
		undo_late(c, pi);
		return -XEN_EAGAIN;
	}
	return rc;
}

/* One pass of sync_leaf(). */
static __attribute__((noinline)) int leaf_pass(struct mm_ctx *c, struct page_info *pi, unsigned i)
{
	uint64_t g = atomic_load_explicit(&pi->hw.gpt[i], memory_order_acquire), word = 0;
	bool mapped = (g & (PTE_P | PTE_A)) == (PTE_P | PTE_A);
	struct gfn_rec *rec = mapped ? p2m_rec(c->mm, pte_frame(g)) : NULL;
	bool rw = false;
	int rc;

	if (rec) {
		word = atomic_load(&rec->word);
		rw = g & PTE_RW && may_be_writable(rec);
	}
	rc = leaf_enter(c, pi, i, g, rec, word, rw);
	if (!rc && mapped && unlikely(!(word & P2M_VALID)))
		rc = p2m_promised(c->mm, pte_frame(g), word) ? 0 : -XEN_EINVAL;
	return rc;
}

/* The further passes, apart: the first one should keep no registers for these. */
static __attribute__((noinline, cold)) int
leaf_passes(struct mm_ctx *c, struct page_info *pi, unsigned i, const struct contention_site *site)
{
	struct retry_loop loop;
	int rc;

	retry_begin(&loop, site);
	do {
		retry(&loop);
		rc = leaf_pass(c, pi, i);
	} while (rc == LOOK_AGAIN);
	retry_done(&loop);
	return rc;
}

int sync_leaf(struct mm_ctx *c, struct page_info *pi, unsigned i)
{
	CAS_SITE(site, "hardware leaf entry");
	int rc = leaf_pass(c, pi, i);

	return likely(rc != LOOK_AGAIN) ? rc : leaf_passes(c, pi, i, &site);
}

int leaf_write(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val, uint64_t keep,
	       uint64_t *seen)
{
	struct gfn_rec *rec;
	uint64_t word;
	CAS_SITE(site, "leaf entry, written");
	int rc = leaf_check(c->mm, val, &rec, &word);

	if (unlikely(rc || !guest_write(&pi->hw.gpt[i], &val, keep, seen)))
		return rc;
	/* The check was the first look, and with RW it may be writable. What the hardware's entry then
	 * lacks (its table is gone, its frame went away since the check, no memory for the reverse
	 * map) is mm_fault()'s to repair or to report. */
	if (unlikely(leaf_enter(c, pi, i, val, rec, word, true) == LOOK_AGAIN))
		leaf_passes(c, pi, i, &site);
	return 0;
}

/*
 * One entry of a fresh L1, the common case: nothing there yet, one slot free or linear. Returns
 * false when it is anything else; then nothing was done. The caller looks whether the table is live
 * after all entries. *@leaf caches the last leaf of records.
 */
static inline bool fill_leaf(struct mm_ctx *c, _Atomic uint64_t *hwp, const _Atomic uint64_t *gp,
			     uint64_t loc, uint64_t g, bool linear, struct gfn_rec *rec)
{
	uint64_t word = atomic_load(&rec->word), new, none = 0;

	if ((word & (P2M_VALID | P2M_RO | P2M_SAMPLED)) != P2M_VALID ||
	    (g & PTE_RW && !may_be_writable(rec)) ||
	    atomic_load_explicit(hwp, memory_order_relaxed))
		return false;
	new = translate(g, word, true);
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
	/* PAIRS: pt_rw */
	if (new &PTE_RW && SYNC_CHANGED(pt, PT_RW, atomic_load(&rec->pt))) {
		c->flush = true;
		return false;
	}
	return !SYNC_CHANGED(guest, g, atomic_load(gp));
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
			if (likely(g & PTE_A) && likely(lin != LIN_NONE || gfn % 512 != j) &&
			    likely(fill_leaf(c, &hw[j], &gp[j], loc + j, g, lin + j == gfn, rec)))
				continue;
			word = atomic_load_explicit(&rec->word, memory_order_relaxed);
			if (!(word & P2M_VALID) && p2m_promised(c->mm, gfn, word) &&
			    !atomic_load_explicit(&hw[j], memory_order_relaxed))
				continue;
			/* Sync even what is refused: the fast way may have entered it. */
			rc = leaf_check(c->mm, g, &rec, &word);
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
