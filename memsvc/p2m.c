/* SPDX-License-Identifier: MIT */
/* P2M records, frames behind names; see p2m.h. */
#include "memsvc/p2m.h"

#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/name_impl.h"
#include "memsvc/rmap.h"
#include "percpu/pcpu.h"

unsigned mm_shards(void)
{
	return MIN(MAX(nr_pcpus(), 1u), (unsigned)MM_SHARDS);
}

struct mm_shard *mm_own_shard(struct mm *mm)
{
	struct pcpu *p = this_pcpu();

	return &mm->shard[p ? p->id % MM_SHARDS : 0];
}

void mm_count(struct mm *mm, enum mm_kind kind, int64_t n)
{
	struct mm_shard *s = mm_own_shard(mm);

	/* Release: who sees the count fall also sees what was done before. PAIRS: mm_count */
	atomic_fetch_add_explicit(&s->frames[kind], n, memory_order_release);
}

int64_t mm_sum(const struct mm *mm, enum mm_kind kind)
{
	unsigned n = mm_shards();
	int64_t sum = 0;

	for (unsigned i = 0; i < n; i++) /* PAIRS: mm_count */
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
	atomic_store_explicit(&pi->meta.mm, mm, memory_order_release); /* PAIRS: frame_rec */
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

bool p2m_init(struct mm *mm, void *room, size_t len)
{
	size_t root = p2m_root_len(mm) * sizeof(uint64_t), mid;

	if (root > len) {
		mm->p2m_root = p2m_meta_page(mm, 0);
		return mm->p2m_root;
	}
	mm->p2m_root = room;
	mm->root_inside = true;
	root = ROUND_UP(root, (size_t)CACHE_LINE);
	mid = p2m_mid_len(mm, 0) * sizeof(uint64_t);
	if (p2m_root_len(mm) == 1 && root + mid <= len) {
		atomic_init(&mm->p2m_root[0], (uint64_t)room + root);
		mm->mid_inside = true;
	}
	return true;
}

struct gfn_rec *p2m_rec_make(struct mm *mm, uint64_t gfn)
{
	_Atomic uint64_t *mid;
	struct gfn_rec *leaf;

	if (gfn >= mm->names)
		return NULL;
	mid = node(mm, &mm->p2m_root[gfn >> 15], 0);
	if (!mid)
		return NULL;
	if (gfn >> 9 >= MM_LINEAR_FIRST && !node(mm, &mm->linear_root[gfn >> 18], 0))
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
	if (word & (P2M_VALID | P2M_SWAPPED))
		return 0;
	m = page_alloc(PAGE_ALLOC_ZERO);
	if (!mfn_valid_value(m))
		return -1;
	pi = page_of(m);
	frame_become_private(mm, pi, rec);
	/* Release the zeroed frame. PAIRS: p2m_change */
	if (name_move(mm, rec, word, p2m_word(word, m, P2M_VALID | P2M_TOUCHED)))
		return 1;
	page_free(m);
	return 0;
}

uint64_t mm_populate(struct mm *mm, gfn_t gfn, uint64_t n)
{
	struct gfn_rec *rec = NULL;
	uint64_t i;

	if (gfn.v >= mm->max_pages)
		return 0;
	n = MIN(n, mm->max_pages - gfn.v);
	for (i = 0; i < n; i++) {
		if (!rec || (gfn.v + i) % RECS_PER_LEAF == 0)
			rec = p2m_rec_make(mm, gfn.v + i);
		else
			rec++;
		if (populate_one(mm, rec) < 0)
			break;
	}
	return i;
}

void mm_promise_all(struct mm *mm)
{
	mm->promised = mm->max_pages;
}

int mm_promise(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = gfn.v < mm->promised ? p2m_rec(mm, gfn.v) : NULL;
	uint64_t word = rec ? atomic_load(&rec->word) : 0;

	if (!(word & P2M_GONE))
		return -XEN_EINVAL;
	/* Who loses finds it promised by another. */
	return name_move(mm, rec, word, p2m_word(word, MFN(0), 0)) ? 0 : -XEN_EINVAL;
}

static uint64_t word_of(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);

	return rec ? atomic_load_explicit(&rec->word, memory_order_acquire) : 0;
}

bool mm_gfn_exists(struct mm *mm, gfn_t gfn)
{
	uint64_t word = word_of(mm, gfn);

	return word & P2M_VALID || p2m_promised(mm, gfn.v, word);
}

mfn_t mm_gfn_to_mfn(struct mm *mm, gfn_t gfn)
{
	uint64_t word = word_of(mm, gfn);

	while (unlikely(!(word & P2M_VALID))) {
		if (!p2m_promised(mm, gfn.v, word) || name_touch(mm, gfn.v, false, true))
			return INVALID_MFN;
		word = word_of(mm, gfn);
	}
	return p2m_mfn(word);
}

mfn_t mm_gfn_get_writable(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	uint64_t word;
	CAS_LOOP(loop, "name to be written");

	if (rec && rec_is_table(rec))
		return INVALID_MFN;
	/* A guard that comes after this look settles after the caller's RCU section. */
	do {
		if (name_touch(mm, gfn.v, true, true))
			return INVALID_MFN;
		word = word_of(mm, gfn);
	} while (unlikely((word & (P2M_VALID | P2M_RO)) != P2M_VALID) && retry(&loop));
	return p2m_mfn(word);
}

mfn_t mm_gfn_pin_special(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec;
	uint64_t word;
	CAS_LOOP(loop, "name to be pinned");

	for (;; retry(&loop)) {
		if (name_touch(mm, gfn.v, true, true))
			return INVALID_MFN;
		rec = p2m_rec(mm, gfn.v);
		word = atomic_load(&rec->word);
		if ((word & (P2M_VALID | P2M_RO | P2M_SAMPLED)) != P2M_VALID)
			continue;
		if (word & P2M_PINNED || word_cas(rec, word, p2m_reflag(word, P2M_PINNED, 0)))
			return p2m_mfn(word);
	}
}

gfn_t mm_special_name(struct mm *mm)
{
	uint64_t g = atomic_fetch_add_explicit(&mm->special_next, 1, memory_order_relaxed);

	return g < mm->names ? GFN(g) : INVALID_GFN;
}

int mm_map_special(struct mm *mm, gfn_t gfn, mfn_t m)
{
	struct gfn_rec *rec;
	uint64_t word;

	if (gfn.v < mm->max_pages || gfn.v >= mm->names)
		return -XEN_EINVAL;
	rec = p2m_rec_make(mm, gfn.v);
	if (!rec)
		return -XEN_ENOMEM;
	word = atomic_load_explicit(&rec->word, memory_order_relaxed);
	if (word & P2M_VALID)
		return -XEN_EINVAL;
	frame_become_private(mm, page_of(m), rec);
	if (name_move(mm, rec, word, p2m_word(word, m, P2M_VALID | P2M_PINNED | P2M_SPECIAL)))
		return 0;
	page_set_type(page_of(m), PG_DOM, PG_HYP, PG_NO_OWNER);
	return -XEN_EINVAL;
}

int mm_decrease(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = gfn.v < mm->max_pages ? p2m_rec(mm, gfn.v) : NULL;
	uint64_t word, gone;
	CAS_LOOP(loop, "name given up");

	if (!rec && gfn.v < mm->promised)
		rec = p2m_rec_make(mm, gfn.v);
	if (!rec)
		return -XEN_EINVAL;
	do {
		word = atomic_load(&rec->word);
		if (!p2m_promised(mm, gfn.v, word))
			return -XEN_EINVAL;
		if (word & P2M_PINNED || rec_is_table(rec) || rmap_too_many(rec))
			return -XEN_EBUSY;
		gone = p2m_word(word, MFN(0), P2M_GONE);
	} while (!name_move(mm, rec, word, gone) && retry(&loop));
	retry_done(&loop);
	/* A promotion that started before sees the new word and gives up, or is seen here. */
	if (rec_is_table(rec)) {
		/* Unless the name was promised again meanwhile: then what was behind it goes. */
		if (name_move(mm, rec, gone,
			      p2m_reflag(p2m_word(gone, p2m_mfn(word), 0),
					 (unsigned)(word & P2M_FLAGS), 0)))
			return -XEN_EBUSY;
	}
	name_drop(mm, rec, gfn.v, word);
	return 0;
}
