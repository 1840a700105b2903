/* SPDX-License-Identifier: MIT */
/* Life of hardware tables: made, filled, detached, swept; see pt.h. */
#include "memsvc/pt.h"

#include "core/domain.h"
#include "memsvc/name.h"

#define TABLES_ALWAYS 1024 /* of any domain */

/*
 * Counting reads what all pCPUs write. So who has counted lets its shard go on without, by so little
 * that all shards together stay below what was left.
 */
bool may_have_table(struct mm *mm)
{
	int64_t left = (int64_t)(mm->max_pages / 8 + TABLES_ALWAYS);
	struct mm_shard *s = mm_own_shard(mm);
	int64_t own = atomic_load_explicit(&s->frames[MMK_HWTABLE], memory_order_relaxed);

	if (likely(own < atomic_load_explicit(&s->tables_to, memory_order_relaxed)))
		return true;
	left -= mm_sum(mm, MMK_HWTABLE) +
		atomic_load_explicit(&mm->ovf_nr_pages, memory_order_relaxed);
	if (left > 0) {
		atomic_store_explicit(&s->tables_to, own + left / (2 * mm_shards()),
				      memory_order_relaxed);
		return true;
	}
	return frames_free_count() > frames_total() / 16;
}

static struct page_info *table_new(struct mm_ctx *c, struct gfn_rec *rec, mfn_t guest,
				   unsigned level)
{
	struct page_info *pi;
	mfn_t m;

	if (unlikely(!may_have_table(c->mm)))
		return NULL;
	m = page_alloc(PAGE_ALLOC_ZERO);
	if (!mfn_valid_value(m))
		return NULL;
	pi = page_of(m);
	page_set_type(pi, PG_HYP, PG_HWTABLE, c->mm->domid);
	atomic_store_explicit(&pi->hw.mm, c->mm, memory_order_release); /* PAIRS: frame_rec */
	pi->hw.rec = rec;
	pi->hw.gpt = arch_mfn_to_virt(guest);
	atomic_store_explicit(&pi->hw.lin_base, LIN_NONE, memory_order_relaxed);
	atomic_store_explicit(&pi->hw.filled, 0, memory_order_relaxed);
	pi->hw.level = (uint8_t)level;
	atomic_store_explicit(&pi->hw.names, 0, memory_order_relaxed);
	atomic_store_explicit(&pi->hw.late, 0, memory_order_relaxed);
	if (level == 4)
		for (unsigned i = 0; i < HYP_SLOTS; i++)
			atomic_store_explicit(&hw_entries(pi)[HYP_SLOT_FIRST + i], arch_hyp_l4[i],
					      memory_order_relaxed);
	mm_count(c->mm, MMK_HWTABLE, 1);
	return pi;
}

static void table_discard(struct mm_ctx *c, struct page_info *pi)
{
	page_free(mfn_of(pi));
	mm_count(c->mm, MMK_HWTABLE, -1);
}

int table_get(struct mm_ctx *c, uint64_t gfn, unsigned level, struct page_info **out)
{
	struct gfn_rec *rec = p2m_rec(c->mm, gfn);
	struct page_info *pi;
	uint64_t pt, word;
	mfn_t m;
	int rc;
	CAS_LOOP(loop, "page table, get");

	if (unlikely(!rec)) {
		rc = gfn < c->mm->promised ? name_touch(c->mm, gfn, true, true) : -XEN_EINVAL;
		if (rc)
			return rc;
		rec = p2m_rec(c->mm, gfn);
	}
	pt = atomic_load_explicit(&rec->pt, memory_order_acquire);
again:
	while (pt_is_table(pt)) {
		if (PT_LEVEL(pt) != level || PT_REFS(pt) == PT_REFS_MAX)
			return -XEN_EINVAL;
		if (atomic_compare_exchange_weak(&rec->pt, &pt, pt + PT_REF)) {
			*out = page_of(PT_HW(pt));
			return 0;
		}
		retry(&loop);
	}
	rc = name_touch(c->mm, gfn, true, true);
	if (rc)
		return rc == -XEN_ENOMEM ? rc : -XEN_EINVAL;
	word = atomic_load(&rec->word);
	if ((word & (P2M_VALID | P2M_RO)) != P2M_VALID) { /* guarded just now, or given up */
		pt = atomic_load_explicit(&rec->pt, memory_order_acquire);
		retry(&loop);
		goto again;
	}
	if (word & P2M_SPECIAL)
		return -XEN_EINVAL;
	m = p2m_mfn(word);
	pi = table_new(c, rec, m, level);
	if (!pi)
		return -XEN_ENOMEM;
	/* Release the table's record. PAIRS: p2m_change, PAIRS: pt_rw */
	if (!atomic_compare_exchange_strong(&rec->pt, &pt,
					    mfn_of(pi).v << 28 | PT_REF | pt | level)) {
		table_discard(c, pi);
		retry(&loop);
		goto again;
	}
	/* The frame may have left the name, or writable mappings come, until here but not later. */
	if (unlikely(atomic_load(&rec->word) != word)) {
		table_put(c, pi);
		pt = atomic_load_explicit(&rec->pt, memory_order_acquire);
		retry(&loop);
		goto again;
	}
	if (unlikely(rmap_any_writable(c->mm, rec, gfn, m))) {
		table_put(c, pi);
		return -XEN_EINVAL;
	}
	/* Writable translations of the page may still be cached, here and on other pCPUs. The guest's
	 * own flushes are not trusted for this, and Linux makes none before it pins. Of several tables
	 * that one operation makes only one loses PT_RW. */
	if (pt & PT_RW) {
		c->flush = true;
		if (!c->made)
			c->made = (uint32_t)mfn_of(pi).v;
	}
	*out = pi;
	return 0;
}

void table_put(struct mm_ctx *c, struct page_info *pi)
{
	struct gfn_rec *rec = pi->hw.rec;
	uint64_t pt = atomic_load_explicit(&rec->pt, memory_order_relaxed), left;
	CAS_LOOP(loop, "page table, put");

	/* Holding a reference, the word is this table's. Detaching has no condition to re-check:
	 * at one reference, ours, no one can look it up but through this word. PAIRS: pt_detach */
	do {
		BUG_ON(PT_HW(pt).v != mfn_of(pi).v || !PT_REFS(pt));
		left = pt - PT_REF;
		if (!PT_REFS(left))
			left &= PT_RW;
	} while (!atomic_compare_exchange_weak(&rec->pt, &pt, left) && retry(&loop));
	if (pt_is_table(left))
		return;
	atomic_store_explicit(&pi->next, c->reap, memory_order_relaxed);
	c->reap = mfn_of(pi).v;
}

void table_clear_l1(struct page_info *pi)
{
	_Atomic uint64_t *e = hw_entries(pi);

	for (unsigned i = 0; i < 512; i += 8) {
		if (!any8(&e[i]))
			continue;
		for (unsigned j = i; j < i + 8; j++)
			if (atomic_load_explicit(&e[j], memory_order_relaxed))
				rmap_retract(atomic_exchange(&e[j], 0), rmap_loc(mfn_of(pi), j));
	}
}

void table_forget_linear(struct page_info *pi)
{
	uint64_t base = atomic_load(&pi->hw.lin_base), self = mfn_of(pi).v;

	if (base < MM_MAX_NAMES)
		atomic_compare_exchange_strong(p2m_linear(table_mm(pi), base), &self, 0);
}

static void sweep_upper(struct mm_ctx *c, struct page_info *pi)
{
	_Atomic uint64_t *e = hw_entries(pi);

	for (unsigned i = 0; i < 512; i++) {
		uint64_t old;

		if (pi->hw.level == 4 && i - HYP_SLOT_FIRST < HYP_SLOTS)
			continue;
		if (!atomic_load_explicit(&e[i], memory_order_relaxed))
			continue;
		old = atomic_exchange(&e[i], 0);
		if (old & PTE_P)
			table_put(c, page_of(MFN(pte_frame(old))));
	}
}

void table_sweep(struct mm_ctx *c, struct page_info *pi)
{
	/* After the detach: entries written later are undone by their writers. PAIRS: pt_detach */
	atomic_thread_fence(memory_order_seq_cst);
	if (pi->hw.level == 1) {
		table_clear_l1(pi);
		/* Claimed at this moment: the claimer finds the table detached. */
		table_forget_linear(pi);
	} else {
		sweep_upper(c, pi);
	}
	tlb_retire(c->mm, pi);
}

static int fill_upper(struct mm_ctx *c, struct page_info *pi)
{
	unsigned i = atomic_load_explicit(&pi->hw.filled, memory_order_relaxed);

	for (; i < 512; i++) {
		struct page_info *child;
		uint64_t hw;
		int rc;

		if (!(atomic_load_explicit(&pi->hw.gpt[i], memory_order_relaxed) & PTE_P))
			continue;
		if (pi->hw.level == 4 && i - HYP_SLOT_FIRST < HYP_SLOTS)
			continue;
		rc = sync_table_entry(c, pi, i);
		if (rc)
			return rc;
		hw = atomic_load(&hw_entries(pi)[i]);
		if (!(hw & PTE_P))
			continue;
		/* Still readable if another vCPU drops it now: RCU. */
		child = page_of(MFN(pte_frame(hw)));
		rc = table_fill(c, child);
		if (rc == -XEN_EAGAIN) {
			/* The entry was changed meanwhile and the child let go. Others can do so for
			 * ever. */
			if (preempt_pending()) {
				atomic_store_explicit(&pi->hw.filled, i, memory_order_relaxed);
				return MM_PREEMPTED;
			}
			i--;
			continue;
		}
		if (rc < 0)
			return rc;
		if (rc == MM_PREEMPTED || (i < 511 && preempt_pending())) {
			atomic_store_explicit(&pi->hw.filled, rc ? i : i + 1, memory_order_relaxed);
			return MM_PREEMPTED;
		}
	}
	return 0;
}

int table_fill(struct mm_ctx *c, struct page_info *pi)
{
	int rc;

	if (atomic_load_explicit(&pi->hw.filled, memory_order_relaxed) == 512)
		return 0;
	rc = pi->hw.level == 1 ? sync_fill_l1(c, pi) : fill_upper(c, pi);
	if (!rc)
		atomic_store_explicit(&pi->hw.filled, 512, memory_order_relaxed);
	return rc;
}

static __attribute__((noinline, cold)) void work_list(struct mm *mm, struct mm_work *w)
{
	CAS_LOOP(loop, "list of vCPUs' unfinished work");

	w->listed = true;
	w->next = atomic_load(&mm->works);
	while (!atomic_compare_exchange_weak(&mm->works, &w->next, w))
		retry(&loop);
	retry_done(&loop);
}

struct mm_work *ctx_work(struct mm *mm)
{
	struct pcpu *p = this_pcpu();
	struct vcpu *v = p ? p->current : NULL;

	if (!v || &v->domain->mm != mm)
		return &mm->own_work;
	if (unlikely(!v->mm_work.listed))
		work_list(mm, &v->mm_work);
	return &v->mm_work;
}

/* After the flush: no TLB has a writable translation of the table that was made. */
static void none_writable(const struct mm_ctx *c)
{
	/* It may have been detached, but not been freed: RCU. */
	struct gfn_rec *rec = page_of(MFN(c->made))->hw.rec;
	uint64_t pt = atomic_load(&rec->pt);
	CAS_LOOP(loop, "page table, flushed");

	do {
		if (PT_HW(pt).v != c->made)
			return;
		/* PAIRS: pt_rw */
	} while (!atomic_compare_exchange_weak(&rec->pt, &pt, pt & ~PT_RW) && retry(&loop));
	retry_done(&loop);
}

void ctx_end_slow(struct mm_ctx *c)
{
	if (c->flush)
		tlb_shootdown_mm(c->mm);
	if (c->made)
		none_writable(c);
	while (c->reap) {
		struct page_info *pi = page_of(MFN(c->reap));
		struct mm_work *w = ctx_work(c->mm);

		c->reap = atomic_load_explicit(&pi->next, memory_order_relaxed);
		atomic_store_explicit(&pi->next, w->reap, memory_order_relaxed);
		w->reap = mfn_of(pi).v;
	}
}

int mm_reap(struct mm *mm)
{
	struct mm_work *w = ctx_work(mm);
	struct mm_ctx c = ctx_begin(mm);
	int rc = 0;

	if (likely(!w->reap))
		return 0;
	c.reap = w->reap;
	w->reap = 0;
	while (c.reap) {
		struct page_info *pi = page_of(MFN(c.reap));

		c.reap = atomic_load_explicit(&pi->next, memory_order_relaxed);
		table_sweep(&c, pi);
		if (c.reap && preempt_pending()) {
			rc = MM_PREEMPTED;
			break;
		}
	}
	ctx_end(&c);
	return rc;
}
