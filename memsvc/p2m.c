/* SPDX-License-Identifier: MIT */
/* P2M records, frames behind names; see p2m.h. */
#include "memsvc/p2m.h"

#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/rmap.h"
#include "percpu/pcpu.h"

void mm_count(struct mm *mm, enum mm_kind kind, int64_t n)
{
	struct pcpu *p = this_pcpu();
	struct mm_shard *s = &mm->shard[p ? p->id % MM_SHARDS : 0];

	/* Release: who sees the count fall also sees what was done before. PAIRS: mm_count */
	atomic_fetch_add_explicit(&s->frames[kind], n, memory_order_release);
}

int64_t mm_sum(const struct mm *mm, enum mm_kind kind)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < MM_SHARDS; i++) /* PAIRS: mm_count */
		sum += atomic_load_explicit(&mm->shard[i].frames[kind], memory_order_acquire);
	return sum;
}

void *p2m_meta_page(struct mm *mm, uint64_t base)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);
	struct page_info *pi;

	if (!mfn_valid_value(m))
		return NULL;
	pi = page_of(m);
	page_set_type(pi, PG_HYP, PG_META, mm->domid);
	pi->meta.mm = mm;
	pi->meta.base = base;
	mm_count(mm, MMK_META, 1);
	return arch_mfn_to_virt(m);
}

/* The page @slot points to, made when missing; the loser of a race frees its own. */
static void *node(struct mm *mm, _Atomic uint64_t *slot, uint64_t base)
{
	uint64_t cur = atomic_load_explicit(slot, memory_order_acquire);
	void *page;

	if (likely(cur))
		return (void *)cur;
	page = p2m_meta_page(mm, base);
	if (!page)
		return NULL;
	/* PAIRS: p2m_node */
	if (atomic_compare_exchange_strong_explicit(slot, &cur, (uint64_t)page,
						    memory_order_acq_rel, memory_order_acquire))
		return page;
	page_free(arch_virt_to_mfn(page));
	mm_count(mm, MMK_META, -1);
	return (void *)cur;
}

struct gfn_rec *p2m_rec_make(struct mm *mm, uint64_t gfn)
{
	_Atomic uint64_t *mid;
	struct gfn_rec *leaf;

	if (gfn >= MM_MAX_NAMES)
		return NULL;
	mid = node(mm, &mm->p2m_root[gfn >> 15], 0);
	if (!mid || !node(mm, &mm->linear_root[gfn >> 18], 0))
		return NULL;
	leaf = node(mm, &mid[gfn >> 6 & 511], gfn & ~(uint64_t)(RECS_PER_LEAF - 1));
	return leaf ? &leaf[gfn & (RECS_PER_LEAF - 1)] : NULL;
}

/* 1: a frame was put there, 0: there was one, -1: no memory. */
static int populate_one(struct mm *mm, struct gfn_rec *rec)
{
	uint64_t word;
	struct page_info *pi;
	mfn_t m;

	if (!rec)
		return -1;
	word = atomic_load_explicit(&rec->word, memory_order_relaxed);
	if (word & P2M_VALID)
		return 0;
	m = page_alloc(PAGE_ALLOC_ZERO);
	if (!mfn_valid_value(m))
		return -1;
	pi = page_of(m);
	page_set_type(pi, PG_HYP, PG_DOM, mm->domid);
	pi->dom.rec = rec;
	atomic_store_explicit(&pi->dom.late, 0, memory_order_relaxed);
	/* Release the zeroed frame. PAIRS: p2m_change */
	if (atomic_compare_exchange_strong(&rec->word, &word, p2m_word(word, m, P2M_VALID)))
		return 1;
	page_free(m);
	return 0;
}

uint64_t mm_populate(struct mm *mm, gfn_t gfn, uint64_t n)
{
	struct gfn_rec *rec = NULL;
	int64_t made = 0;
	uint64_t i;
	int rc = 0;

	if (gfn.v >= mm->max_pages)
		return 0;
	n = MIN(n, mm->max_pages - gfn.v);
	/* Counted before anyone can give one up again. */
	mm_count(mm, MMK_DATA, (int64_t)n);
	for (i = 0; i < n && rc >= 0; i += rc >= 0) {
		if (!rec || (gfn.v + i) % RECS_PER_LEAF == 0)
			rec = p2m_rec_make(mm, gfn.v + i);
		else
			rec++;
		rc = populate_one(mm, rec);
		made += rc > 0;
	}
	if (made != (int64_t)n)
		mm_count(mm, MMK_DATA, made - (int64_t)n);
	return i;
}

static uint64_t word_of(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);

	return rec ? atomic_load_explicit(&rec->word, memory_order_acquire) : 0;
}

mfn_t mm_gfn_to_mfn(struct mm *mm, gfn_t gfn)
{
	uint64_t word = word_of(mm, gfn);

	return word & P2M_VALID ? p2m_mfn(word) : INVALID_MFN;
}

mfn_t mm_gfn_get_writable(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	uint64_t word;

	if (!rec || atomic_load_explicit(&rec->pt, memory_order_acquire))
		return INVALID_MFN;
	word = atomic_load_explicit(&rec->word, memory_order_acquire);
	if (!(word & P2M_VALID) || word & P2M_RO)
		return INVALID_MFN;
	return p2m_mfn(word);
}

mfn_t mm_gfn_pin_special(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	uint64_t word;

	if (!rec)
		return INVALID_MFN;
	word = atomic_load_explicit(&rec->word, memory_order_acquire);
	do {
		if (!(word & P2M_VALID) || word & P2M_RO)
			return INVALID_MFN;
		if (word & P2M_PINNED)
			break;
	} while (!atomic_compare_exchange_weak(
		&rec->word, &word, p2m_word(word, p2m_mfn(word), (word & 0xff) | P2M_PINNED)));
	return p2m_mfn(word);
}

gfn_t mm_special_name(struct mm *mm)
{
	uint64_t g = atomic_fetch_add_explicit(&mm->special_next, 1, memory_order_relaxed);

	return g < MM_MAX_NAMES ? GFN(g) : INVALID_GFN;
}

int mm_map_special(struct mm *mm, gfn_t gfn, mfn_t m)
{
	struct gfn_rec *rec;
	uint64_t word;

	if (gfn.v < mm->max_pages || gfn.v >= MM_MAX_NAMES)
		return -XEN_EINVAL;
	rec = p2m_rec_make(mm, gfn.v);
	if (!rec)
		return -XEN_ENOMEM;
	word = atomic_load_explicit(&rec->word, memory_order_relaxed);
	if (word & P2M_VALID)
		return -XEN_EINVAL;
	page_set_type(page_of(m), PG_HYP, PG_DOM, mm->domid);
	page_of(m)->dom.rec = rec;
	atomic_store_explicit(&page_of(m)->dom.late, 0, memory_order_relaxed);
	mm_count(mm, MMK_SPECIAL, 1);
	if (atomic_compare_exchange_strong(&rec->word, &word,
					   p2m_word(word, m, P2M_VALID | P2M_PINNED | P2M_SPECIAL)))
		return 0;
	mm_count(mm, MMK_SPECIAL, -1);
	page_set_type(page_of(m), PG_DOM, PG_HYP, PG_NO_OWNER);
	return -XEN_EINVAL;
}

int mm_decrease(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = gfn.v < mm->max_pages ? p2m_rec(mm, gfn.v) : NULL;
	uint64_t word, gone;
	mfn_t m;

	if (!rec)
		return -XEN_EINVAL;
	word = atomic_load_explicit(&rec->word, memory_order_acquire);
	do {
		if (!(word & P2M_VALID))
			return -XEN_EINVAL;
		if (word & P2M_PINNED || atomic_load(&rec->pt) || rmap_too_many(rec))
			return -XEN_EBUSY;
		m = p2m_mfn(word);
		gone = p2m_word(word, MFN(0), 0);
	} while (!atomic_compare_exchange_weak(&rec->word, &word, gone)); /* PAIRS: p2m_change */
	/* A promotion that started before sees the new word and gives up, or is seen here. */
	if (atomic_load(&rec->pt)) {
		/* Nobody else has put a frame here unless populate did: then both frames are real
		 * and the older one goes. */
		if (atomic_compare_exchange_strong(&rec->word, &gone,
						   p2m_word(gone, m, word & 0xff)))
			return -XEN_EBUSY;
	}
	rmap_clear_all(mm, rec, gfn.v, m);
	mm_count(mm, MMK_DATA, -1);
	mm_count(mm, MMK_RETIRED, 1);
	tlb_retire(mm, page_of(m));
	return 0;
}
