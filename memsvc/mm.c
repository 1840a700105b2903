/* SPDX-License-Identifier: MIT */
/* Creation and teardown of a domain's memory. */
#include "memsvc/mm.h"

#include "core/lib.h"
#include "memsvc/name_impl.h"
#include "memsvc/pt.h"
#include "memsvc/swap.h"

enum teardown_phase { TD_NAMES, TD_WAIT, TD_NODES, TD_DONE };

size_t mm_bytes(void)
{
	return offsetof(struct mm, shard) + mm_shards() * sizeof(struct mm_shard);
}

static uint64_t special_names(uint64_t ordinary)
{
	return MIN(MAX(ordinary, (uint64_t)BLOCK_NAMES), MM_SPECIAL_NAMES);
}

int mm_init(struct mm *mm, domid_t domid, uint64_t max_pages, void *room, size_t len)
{
	/* A block of its own, so that special names never are in a linear block of ordinary ones. */
	uint64_t special = ROUND_UP(max_pages, (uint64_t)BLOCK_NAMES);

	if (!max_pages || max_pages > MM_MAX_NAMES - MM_SPECIAL_NAMES)
		return -XEN_EINVAL;
	memset(mm, 0, mm_bytes());
	mm->domid = domid;
	mm->max_pages = max_pages;
	mm->names = MIN(special + special_names(special), MM_MAX_NAMES);
	atomic_init(&mm->special_next, special);
	return p2m_init(mm, room, len) ? 0 : -XEN_ENOMEM;
}

void mm_stats(const struct mm *mm, struct mm_stats *out)
{
	for (unsigned k = 0; k < MMC_KINDS; k++)
		out->frames[k] = mm_sum(mm, (enum mm_kind)k);
}

static void meta_free(struct mm *mm, uint64_t va)
{
	page_free(arch_virt_to_mfn((void *)va));
	mm_count(mm, MMK_META, -1);
}

static void table_drop(struct mm *mm, struct page_info *pi)
{
	/* Nothing runs on these tables: no entry or child needs care, but the TLB rules hold. */
	tlb_retire(mm, pi);
}

/* What is behind one name, and its hardware table. A scanner may be looking at it, too. */
static void rec_drop(struct mm *mm, struct gfn_rec *rec)
{
	uint64_t pt = atomic_exchange(&rec->pt, 0), word;
	mfn_t m;
	CAS_LOOP(loop, "name's end");

	if (pt_is_table(pt))
		table_drop(mm, page_of(PT_HW(pt)));
	do {
		word = atomic_load(&rec->word);
	} while (!name_move(mm, rec, word, p2m_word(word, MFN(0), 0)) && retry(&loop));
	retry_done(&loop);
	m = p2m_mfn(word);
	if (word & P2M_SWAPPED) {
		swap_free((uint32_t)m.v);
	} else if (word & P2M_SHARED) {
		if (m.v == share_zero_frame().v)
			return;
		/* No vCPU runs on these tables any more. */
		if (!mm->teardown.flushed)
			tlb_shootdown_mm(mm);
		mm->teardown.flushed = true;
		share_put(m, rec);
	} else if (word & P2M_VALID) {
		mm_count(mm, MMK_RETIRED, 1);
		tlb_retire(mm, page_of(m));
	}
}

/* Tables that preempted operations had detached but not swept. */
static void work_drop(struct mm *mm, struct mm_work *w)
{
	uint64_t m = w->reap;

	w->reap = w->wip = 0;
	while (m) {
		struct page_info *pi = page_of(MFN(m));

		m = atomic_load_explicit(&pi->next, memory_order_relaxed);
		table_drop(mm, pi);
	}
}

static void works_drop(struct mm *mm)
{
	work_drop(mm, &mm->own_work);
	for (struct mm_work *w = atomic_load(&mm->works); w; w = w->next)
		work_drop(mm, w);
}

/* Drop what is behind the names from the cursor on; whole leaves that are missing are skipped. */
static bool drop_names(struct mm *mm, uint64_t budget)
{
	uint64_t g = mm->teardown.cursor;

	while (g < mm->names && budget) {
		_Atomic uint64_t *mid = (_Atomic uint64_t *)atomic_load(&mm->p2m_root[g >> 15]);
		struct gfn_rec *leaf;

		if (!mid) {
			g = (g | 0x7fff) + 1;
			continue;
		}
		leaf = (struct gfn_rec *)atomic_load(&mid[g >> 6 & 511]);
		if (!leaf) {
			g = (g | (RECS_PER_LEAF - 1)) + 1;
			continue;
		}
		rec_drop(mm, &leaf[g & (RECS_PER_LEAF - 1)]);
		g++;
		budget--;
	}
	mm->teardown.cursor = g;
	return g >= mm->names;
}

/* The node that @slot points to, if any. */
static void node_drop(struct mm *mm, _Atomic uint64_t *slot, uint64_t *budget)
{
	uint64_t va = atomic_load_explicit(slot, memory_order_relaxed);

	if (!va)
		return;
	atomic_store_explicit(slot, 0, memory_order_relaxed);
	meta_free(mm, va);
	*budget -= *budget != 0;
}

/* Retired frames still point to their records: free these only when all are gone. What is freed is
 * unlinked, so this may stop anywhere and start again. */
static bool nodes_free(struct mm *mm, uint64_t budget)
{
	uint64_t m;

	while ((m = atomic_load(&mm->ovf_pages))) {
		if (!budget--)
			return false;
		atomic_store(&mm->ovf_pages, atomic_load(&page_of(MFN(m))->next));
		meta_free(mm, (uint64_t)arch_mfn_to_virt(MFN(m)));
	}
	for (uint64_t i = 0; i < p2m_root_len(mm) && mm->p2m_root; i++) {
		_Atomic uint64_t *mid = (_Atomic uint64_t *)atomic_load(&mm->p2m_root[i]);

		for (uint64_t j = 0; mid && j < p2m_mid_len(mm, i); j++) {
			if (!budget)
				return false;
			node_drop(mm, &mid[j], &budget);
		}
		if (!mm->mid_inside)
			node_drop(mm, &mm->p2m_root[i], &budget);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(mm->linear_root); i++) {
		if (!budget)
			return false;
		node_drop(mm, &mm->linear_root[i], &budget);
	}
	if (mm->p2m_root && !mm->root_inside)
		meta_free(mm, (uint64_t)mm->p2m_root);
	mm->p2m_root = NULL;
	return true;
}

bool mm_teardown(struct mm *mm, uint64_t budget)
{
	switch (mm->teardown.phase) {
	case TD_NAMES:
		if (mm->p2m_root && !drop_names(mm, budget))
			return false;
		works_drop(mm);
		mm->teardown.phase = TD_WAIT;
		/* fall through */
	case TD_WAIT:
		if (mm_sum(mm, MMK_RETIRED) || mm_sum(mm, MMK_HWTABLE) ||
		    atomic_load(&mm->ovf_rcu)) { /* PAIRS: ovf_rcu */
			/* This pCPU's share now, the others' when they next look. */
			tlb_retire_drain();
			tlb_drain_all();
			return false;
		}
		mm->teardown.phase = TD_NODES;
		/* fall through */
	case TD_NODES:
		if (!nodes_free(mm, budget))
			return false;
		mm->teardown.phase = TD_DONE;
		/* fall through */
	default:
		for (unsigned k = 0; k < MMN_KINDS; k++)
			BUG_ON(mm_sum(mm, (enum mm_kind)k));
		return true;
	}
}
