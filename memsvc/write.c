/* SPDX-License-Identifier: MIT */
/* Writes to live guest tables: check, write the guest's entry, sync the hardware's. */
#include "memsvc/pt.h"

/* What must hold before @val is written to an upper-level entry; on 0, *@child is its table with
 * a reference (NULL when not present). */
static int upper_prepare(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val,
			 struct page_info **child)
{
	*child = NULL;
	if (pi->hw.level == 4 && i - HYP_SLOT_FIRST < HYP_SLOTS &&
	    val != atomic_load_explicit(&pi->hw.gpt[i], memory_order_relaxed))
		return -XEN_EINVAL;
	if (!(val & PTE_P))
		return 0;
	if (val & TABLE_DISALLOW)
		return -XEN_EINVAL;
	return table_get_filled(c, pte_frame(val), pi->hw.level - 1, child);
}

/* The guest's entry has been written: what the hardware's then lacks (its table is gone, its frame
 * went away since the check, no memory for the reverse map) is mm_fault()'s to repair or to report. */
static inline void finish(struct mm_ctx *c, struct page_info *pi, unsigned i,
			  struct page_info *child, struct gfn_rec *rec, uint64_t val)
{
	if (likely(pi->hw.level == 1)) {
		sync_leaf_rec(c, pi, i, rec, pte_frame(val));
		return;
	}
	sync_table_entry(c, pi, i);
	if (child)
		table_put(c, child);
}

static inline int prepare(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val,
			  struct page_info **child, struct gfn_rec **rec)
{
	*child = NULL;
	if (likely(pi->hw.level == 1))
		return leaf_check(c->mm, val, rec);
	*rec = NULL;
	return upper_prepare(c, pi, i, val, child);
}

int pt_write(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val, bool keep_ad)
{
	_Atomic uint64_t *gp = &pi->hw.gpt[i];
	struct page_info *child;
	struct gfn_rec *rec;
	int rc = prepare(c, pi, i, val, &child, &rec);

	if (unlikely(rc))
		return rc;
	/* Full fence either way. PAIRS: pt_sync */
	if (keep_ad) {
		uint64_t old = atomic_load_explicit(gp, memory_order_relaxed);
		CAS_LOOP(loop, "guest's entry, A and D kept");

		while (!atomic_compare_exchange_weak(
			gp, &old, (val & ~(PTE_A | PTE_D)) | (old & (PTE_A | PTE_D))))
			retry(&loop);
	} else {
		atomic_exchange(gp, val);
	}
	finish(c, pi, i, child, rec, val);
	return 0;
}

int pt_cmpxchg(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t old, uint64_t val,
	       uint64_t *seen)
{
	struct page_info *child;
	struct gfn_rec *rec;
	int rc = prepare(c, pi, i, val, &child, &rec);

	if (rc)
		return rc;
	*seen = old;
	/* PAIRS: pt_sync */
	if (!atomic_compare_exchange_strong(&pi->hw.gpt[i], seen, val)) {
		if (child)
			table_put(c, child);
		return 0;
	}
	finish(c, pi, i, child, rec, val);
	return 0;
}
