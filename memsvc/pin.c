/* SPDX-License-Identifier: MIT */
/* References that keep a table live: pins and base pointers. */
#include "memsvc/pt.h"

/* A table whose filling was preempted stays referenced until the vCPU's next such operation. */
static void wip_set(struct mm *mm, uint64_t gfn)
{
	ctx_work(mm)->wip = gfn + 1;
}

static void wip_drop(struct mm_ctx *c, uint64_t wip)
{
	if (wip)
		table_put(c, pt_of(p2m_rec(c->mm, wip - 1)));
}

int table_get_filled(struct mm_ctx *c, uint64_t gfn, unsigned level, struct page_info **pi)
{
	struct mm_work *w = ctx_work(c->mm);
	uint64_t wip = w->wip;
	int rc;

	w->wip = 0;
	rc = table_get(c, gfn, level, pi);
	if (!rc) {
		rc = table_fill(c, *pi);
		if (rc == MM_PREEMPTED)
			wip_set(c->mm, gfn);
		else if (rc)
			table_put(c, *pi);
	}
	if (unlikely(wip))
		wip_drop(c, wip);
	return rc;
}

void mm_wip_drop(struct mm *mm)
{
	struct mm_work *w = ctx_work(mm);
	struct mm_ctx c = ctx_begin(mm);
	uint64_t wip = w->wip;

	w->wip = 0;
	wip_drop(&c, wip);
	ctx_end(&c);
}

int mm_pin(struct mm *mm, gfn_t gfn, unsigned level)
{
	struct mm_ctx c = ctx_begin(mm);
	struct page_info *pi;
	int rc = -XEN_EINVAL;

	if (level >= 1 && level <= 4)
		rc = table_get_filled(&c, gfn.v, level, &pi);
	if (!rc) {
		uint64_t old = atomic_fetch_or(&pi->hw.rec->pt, PT_PINNED);

		if (old & PT_PINNED) {
			table_put(&c, pi);
			rc = -XEN_EINVAL;
		}
	}
	ctx_end(&c);
	return rc;
}

int mm_unpin(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	struct mm_ctx c = ctx_begin(mm);
	uint64_t pt;
	CAS_LOOP(loop, "page table, unpin");

	if (!rec)
		return -XEN_EINVAL;
	/* Who clears the bit owns the pin's reference, so the table stays until the put. */
	pt = atomic_load_explicit(&rec->pt, memory_order_acquire);
	do {
		if (!(pt & PT_PINNED))
			return -XEN_EINVAL;
	} while (!atomic_compare_exchange_weak(&rec->pt, &pt, pt & ~PT_PINNED) && retry(&loop));
	retry_done(&loop);
	table_put(&c, page_of(PT_HW(pt)));
	ctx_end(&c);
	return 0;
}

int mm_base_get(struct mm *mm, gfn_t gfn, mfn_t *hw_root)
{
	struct mm_ctx c = ctx_begin(mm);
	struct page_info *pi;
	int rc = table_get_filled(&c, gfn.v, 4, &pi);

	if (!rc)
		*hw_root = mfn_of(pi);
	ctx_end(&c);
	return rc;
}

void mm_base_put(struct mm *mm, gfn_t gfn)
{
	struct mm_ctx c = ctx_begin(mm);

	table_put(&c, pt_of(p2m_rec(mm, gfn.v)));
	ctx_end(&c);
}
