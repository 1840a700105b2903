/* SPDX-License-Identifier: MIT */
/* Moves that a guest's or the hypervisor's access makes; see name.h. */
#include "memsvc/name_impl.h"

#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/rmap.h"
#include "memsvc/swap.h"
#include "percpu/pcpu.h"

/* Between two steps: tests widen the window or leave out what follows. */
#ifndef NAME_STEP
#define NAME_STEP(what, action) action
#endif

static struct counter nr_breaks = {.name = "shares_broken"};
static struct counter nr_quiet = {.name = "shares_broken.no_flush"};

bool word_cas(struct gfn_rec *rec, uint64_t from, uint64_t to)
{
	return atomic_compare_exchange_strong(&rec->word, &from, to); /* PAIRS: p2m_change */
}

/* A frame to be private to @rec; not zeroed. */
static struct page_info *frame_new(struct mm *mm, struct gfn_rec *rec, bool zero, bool urgent)
{
	struct page_info *pi;
	mfn_t m;

	if (unlikely(atomic_load_explicit(&memory_tight, memory_order_relaxed)) &&
	    atomic_load_explicit(&mm->over, memory_order_relaxed) && !urgent)
		return NULL;
	m = page_alloc(zero ? PAGE_ALLOC_ZERO : 0);
	if (unlikely(!mfn_valid_value(m))) {
		if (urgent)
			m = page_alloc_urgent(zero ? PAGE_ALLOC_ZERO : 0);
		if (!mfn_valid_value(m))
			return NULL;
	}
	pi = page_of(m);
	frame_become_private(mm, pi, rec);
	return pi;
}

void frame_become_private(struct mm *mm, struct page_info *pi, struct gfn_rec *rec)
{
	/* Who sees it sees that the frame was of another type before. PAIRS: frame_rec */
	atomic_store_explicit(&pi->dom.rec, rec, memory_order_release);
	atomic_store_explicit(&pi->dom.refs, 0, memory_order_relaxed);
	atomic_store_explicit(&pi->dom.scan, 0, memory_order_relaxed);
	atomic_store_explicit(&pi->dom.hash, 0, memory_order_relaxed);
	atomic_store_explicit(&pi->dom.settled, 0, memory_order_relaxed);
	atomic_store_explicit(&pi->dom.follow, 0, memory_order_relaxed);
	atomic_store_explicit(&pi->dom.late, 0, memory_order_relaxed);
	atomic_store_explicit(&pi->dom.refused, 0, memory_order_relaxed);
	/* Release what was stored here: name_of_frame() reads the type first. */
	page_set_type(pi, PG_HYP, PG_DOM, mm->domid);
}

/* What the counters say of a name with @word; @sign to add or to take away. */
static void account(struct mm *mm, uint64_t word, bool brought, int sign)
{
	if (word & P2M_SPECIAL) {
		mm_count(mm, MMK_SPECIAL, sign);
		return;
	}
	if (word & P2M_TOUCHED)
		mm_count(mm, MMN_TOUCHED, sign);
	if (word & P2M_SWAPPED)
		mm_count(mm, MMN_SWAPPED, sign);
	if (word & P2M_GONE)
		mm_count(mm, MMN_GONE, sign);
	if (!(word & P2M_VALID))
		return;
	if (!(word & P2M_SHARED)) {
		mm_count(mm, MMK_DATA, sign);
	} else if (word & P2M_TOUCHED) {
		mm_count(mm, MMN_SHARING, sign);
		if (p2m_mfn(word).v == share_zero_frame().v)
			mm_count(mm, MMN_ZERO, sign);
		else if (brought)
			mm_count(mm, MMN_BROUGHT, sign);
	}
}

/* CAS and count. Whoever undoes @to has seen it, so its counts come after these in any sum that
 * matters (the domain at rest). */
bool name_move(struct mm *mm, struct gfn_rec *rec, uint64_t from, uint64_t to)
{
	/* Another may undo @to, and drop the reference, at once. */
	bool brought = name_brought(rec, to);

	if (!word_cas(rec, from, to))
		return false;
	account(mm, to, brought, 1);
	account(mm, from, name_brought(rec, from), -1);
	return true;
}

/* What name_touch() does returns this when another has changed the word first. */
#define LOST 1

static int change(struct gfn_rec *rec, uint64_t from, uint64_t to)
{
	return word_cas(rec, from, to) ? 0 : LOST;
}

/* First touch of a promised name. */
static int first_touch(struct mm *mm, struct gfn_rec *rec, uint64_t word, bool write, bool urgent)
{
	struct page_info *pi;

	if (!write) {
		uint64_t to = p2m_word(word, share_zero_frame(), P2M_VALID | P2M_RO | P2M_SHARED);

		return change(rec, word, to);
	}
	pi = frame_new(mm, rec, true, urgent);
	if (!pi)
		return -XEN_ENOMEM;
	if (name_move(mm, rec, word, p2m_word(word, mfn_of(pi), P2M_VALID | P2M_TOUCHED)))
		return 0;
	page_free(mfn_of(pi));
	return LOST;
}

void name_finish_break(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t word)
{
	/* Whatever frame they are for: who shared or swapped the name may not have come to clearing
	 * those of the frame before. One of another name is only looked for again. */
	NAME_STEP(break_clear, rmap_clear_all(mm, rec, gfn, INVALID_MFN));
	NAME_STEP(break_flush, tlb_shootdown_mm(mm));
	word_cas(rec, word, p2m_reflag(word, 0, P2M_RO | P2M_BREAK));
}

static int swap_in(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t word, bool urgent)
{
	struct page_info *pi = frame_new(mm, rec, false, urgent);
	unsigned old = word & P2M_STALE ? P2M_RO | P2M_BREAK : 0;
	uint32_t slot = (uint32_t)p2m_mfn(word).v;
	uint64_t to;

	if (!pi)
		return -XEN_ENOMEM;
	/* Another vCPU may bring it back and free the slot meanwhile: the slot's content stays for a
	 * grace period. */
	if (swap_load(slot, arch_mfn_to_virt(mfn_of(pi)))) {
		page_free(mfn_of(pi));
		return atomic_load(&rec->word) == word ? -XEN_EIO : LOST;
	}
	to = p2m_word(word, mfn_of(pi), P2M_VALID | P2M_TOUCHED | old);
	if (!name_move(mm, rec, word, to)) {
		page_free(mfn_of(pi));
		return LOST;
	}
	swap_free(slot);
	/* Nobody need have flushed since the name lost its old frame. */
	if (old)
		name_finish_break(mm, rec, gfn, to);
	return 0;
}

static int break_share(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t word, bool urgent)
{
	mfn_t old = p2m_mfn(word);
	bool zero = old.v == share_zero_frame().v;
	bool uncached = p2m_merged(word) && !(word & P2M_STALE);
	struct page_info *pi = frame_new(mm, rec, zero, urgent);
	uint64_t to;

	if (!pi)
		return -XEN_ENOMEM;
	/* The shared content is constant as long as the word is what it was. */
	if (!zero)
		memcpy(arch_mfn_to_virt(mfn_of(pi)), arch_mfn_to_virt(old), PAGE_SIZE);
	to = p2m_word(word, mfn_of(pi),
		      P2M_VALID | P2M_TOUCHED | (uncached ? 0 : P2M_RO | P2M_BREAK));
	if (!name_move(mm, rec, word, to)) {
		page_free(mfn_of(pi));
		return LOST;
	}
	if (word & P2M_TOUCHED) {
		counter_register(&nr_breaks);
		counter_inc(&nr_breaks);
		mm_count(mm, MMC_BROKEN, 1);
	}
	if (!uncached) {
		name_finish_break(mm, rec, gfn, to);
	} else {
		counter_register(&nr_quiet);
		counter_inc(&nr_quiet);
	}
	if (!zero)
		share_put(old, rec);
	return 0;
}

static __attribute__((noinline)) struct gfn_rec *rec_new(struct mm *mm, uint64_t gfn, bool urgent)
{
	struct page_cache *c = &this_pcpu()->pages;
	bool was = c->urgent;
	struct gfn_rec *rec;

	c->urgent |= urgent;
	rec = p2m_rec_make(mm, gfn);
	c->urgent = was;
	return rec;
}

int name_touch(struct mm *mm, uint64_t gfn, bool write, bool urgent)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn);
	CAS_LOOP(loop, "name to be touched");

	if (unlikely(!rec)) {
		if (gfn >= mm->promised)
			return -XEN_EINVAL;
		rec = rec_new(mm, gfn, urgent);
		if (!rec)
			return -XEN_ENOMEM;
	}
	for (;;) {
		uint64_t word = atomic_load(&rec->word);
		int rc = 0;

		if (unlikely(word & P2M_SAMPLED)) {
			rc = change(rec, word, p2m_reflag(word, 0, P2M_SAMPLED));
		} else if (likely(word & P2M_VALID)) {
			if (likely(!(word & P2M_RO)) || (!write && likely(!p2m_merged(word))))
				return 0;
			if (!write)
				rc = change(rec, word, p2m_reflag(word, 0, P2M_GUARD | P2M_STALE));
			else if (word & P2M_SHARED)
				rc = break_share(mm, rec, gfn, word, urgent);
			else if (word & P2M_GUARD)
				rc = change(rec, word, p2m_reflag(word, 0, P2M_RO | P2M_GUARD));
			else if (word & P2M_BREAK)
				name_finish_break(mm, rec, gfn, word);
			else
				return -XEN_EINVAL;
		} else if (word & P2M_SWAPPED) {
			rc = swap_in(mm, rec, gfn, word, urgent);
		} else if (p2m_promised(mm, gfn, word)) {
			rc = first_touch(mm, rec, word, write, urgent);
		} else {
			return -XEN_EINVAL;
		}
		if (unlikely(rc == LOST))
			retry(&loop);
		else if (unlikely(rc))
			return rc;
	}
}

uint64_t share_breaks(void)
{
	return counter_sum(&nr_breaks);
}

uint64_t share_breaks_quiet(void)
{
	return counter_sum(&nr_quiet);
}

void name_drop(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t word)
{
	mfn_t m = p2m_mfn(word);

	/* Of any frame, as in a break: the name may be promised again, and be written. */
	rmap_clear_all(mm, rec, gfn, INVALID_MFN);
	if (word & P2M_SWAPPED) {
		swap_free((uint32_t)m.v);
		return;
	}
	if (!(word & P2M_VALID))
		return;
	if (!(word & P2M_SHARED)) {
		mm_count(mm, MMK_RETIRED, 1);
		tlb_retire(mm, page_of(m));
	} else if (m.v != share_zero_frame().v) {
		if (!p2m_merged(word))
			tlb_shootdown_mm(mm);
		share_put(m, rec);
	}
}
