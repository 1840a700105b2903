/* SPDX-License-Identifier: MIT */
/* What the scanner does with one page; see scan.h. */
#include "core/arch.h"
#include "memsvc/name.h"
#include "memsvc/p2m.h"
#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"
#include "percpu/pcpu.h"

/*
 * page_info.dom.scan: visits left to skip (bits 0-7), exponent of the back-off (8-15). Loads and
 * stores only: a note that two scanners write at once is one of theirs.
 */
#define NOTE(skip, exp) ((uint32_t)((skip) | (exp) << 8))
#define NOTE_SKIP(n) ((n)&0xff)
#define NOTE_EXP(n) ((n) >> 8 & 0xff)

static uint32_t note(struct page_info *pi)
{
	return atomic_load_explicit(&pi->dom.scan, memory_order_relaxed);
}

static void note_set(struct page_info *pi, uint32_t n)
{
	atomic_store_explicit(&pi->dom.scan, n, memory_order_relaxed);
}

static uint64_t hash_of(const struct page_info *pi)
{
	return atomic_load_explicit(&pi->dom.hash, memory_order_relaxed);
}

static void hash_set(struct page_info *pi, uint64_t hash)
{
	atomic_store_explicit(&pi->dom.hash, hash, memory_order_relaxed); /* PAIRS: hint_hash */
}

/* A guard of this page was lost: its guest has written to it. The name is not guarded now. */
static void backoff(struct page_info *pi)
{
	uint32_t exp = MIN(NOTE_EXP(note(pi)) + 1, SCAN_BACKOFF_MAX);
	uint64_t hash = hash_of(pi);

	note_set(pi, NOTE((1u << exp) - 1, exp));
	counter_inc(&scan_changed);
	if (!hash)
		return;
	hash_set(pi, 0);
	share_table_remove(hash, mfn_of(pi));
}

/* Its visitor has found it unchanged. */
static void at_rest(struct page_info *pi)
{
	uint32_t exp = NOTE_EXP(note(pi));

	if (unlikely(exp))
		note_set(pi, NOTE(0, exp - 1));
}

/*
 * A reference to @f as a shared frame with the contents of @page, promoting it if it is a hint.
 * @entered: @page's frame @m is in the table itself.
 */
static bool get_equal(mfn_t f, uint64_t hash, mfn_t m, const void *page, bool entered)
{
	struct page_info *pi = page_of(f);
	struct mm *mm;
	gfn_t gfn;
	uint64_t word;

	switch (page_type(pi)) {
	case PG_SHARED:
		/* What is shared does not change. */
		if (hash_of(pi) != hash || !page_equal(page, arch_mfn_to_virt(f)))
			return false;
		break;
	case PG_DOM:
		if (!name_of_frame(f, &mm, &gfn, &word) || hash_of(pi) != hash) {
			share_table_remove(hash, f);
			return false;
		}
		/* Two hints that find each other must agree on which one stays. */
		if (entered && m.v < f.v)
			return false;
		if (!page_equal(page, arch_mfn_to_virt(f)) || !name_promote(mm, gfn, word))
			return false;
		break;
	default:
		share_table_remove(hash, f);
		return false;
	}
	if (!share_get(f))
		return false;
	/* With the reference, so that it is not forgotten before it is entered. */
	if (!share_table_insert(hash, f, true))
		counter_inc(&scan_full);
	return true;
}

/* A settled page with its hash known: merge it, or see that it is entered. */
static void settle(struct mm *mm, gfn_t gfn, uint64_t word, mfn_t m, uint64_t hash)
{
	const void *page = arch_mfn_to_virt(m);
	bool entered = false;
	struct share_look l;
	mfn_t f;

	share_look_start(&l, hash);
	while (share_look_next(&l, &f))
		entered |= f.v == m.v;
	share_look_start(&l, hash);
	while (share_look_next(&l, &f)) {
		if (f.v == m.v || !get_equal(f, hash, m, page, entered))
			continue;
		if (name_share(mm, gfn, word, f)) {
			counter_inc(&scan_merged);
			if (entered)
				share_table_remove(hash, m);
		} else {
			share_put(f);
			counter_inc(&scan_lost);
		}
		return;
	}
	if (entered)
		return;
	if (share_table_insert(hash, m, false))
		counter_inc(&scan_hints);
	else
		counter_inc(&scan_full);
}

enum scan_verdict scan_visit(struct mm *mm, gfn_t gfn, struct scan_page *page)
{
	struct name_view v;
	struct page_info *pi;
	uint64_t hash;

	counter_inc(&scan_looked);
	name_look(mm, gfn, &v);
	if (v.state != NAME_PRIVATE || v.pinned || v.table || v.sampled) {
		counter_inc(&scan_skipped);
		return SCAN_SKIP;
	}
	pi = page_of(v.mfn);
	hash = hash_of(pi);
	if (v.settled && hash) {
		at_rest(pi);
		counter_inc(&scan_settled);
		settle(mm, gfn, v.word, v.mfn, hash);
		return SCAN_SKIP;
	}
	if (v.guarded) {
		*page = (struct scan_page){gfn.v, v.word};
		return SCAN_TAKE_OVER;
	}
	if (hash) {
		backoff(pi);
		return SCAN_SKIP;
	}
	if (NOTE_SKIP(note(pi))) {
		note_set(pi, note(pi) - NOTE(1, 0));
		counter_inc(&scan_backed_off);
		return SCAN_SKIP;
	}
	*page = (struct scan_page){gfn.v, name_guard(mm, gfn)};
	if (!page->word) {
		counter_inc(&scan_skipped);
		return SCAN_SKIP;
	}
	counter_inc(&scan_guarded);
	return SCAN_TAKE;
}

/* The guest has written to a page since its guard; leave it alone for a while if it still has it. */
static void guard_lost(struct mm *mm, const struct scan_page *page)
{
	struct name_view v;

	name_look(mm, GFN(page->gfn), &v);
	if (v.state == NAME_PRIVATE && !v.guarded && v.mfn.v == p2m_mfn(page->word).v)
		backoff(page_of(v.mfn));
}

/* Read a page that is ready: its hash, to be settled with; 0: nothing is left to do. */
static uint64_t read_page(struct mm *mm, const struct scan_page *page, const struct scan_page *next)
{
	gfn_t gfn = GFN(page->gfn);
	mfn_t m = p2m_mfn(page->word);
	const void *data = arch_mfn_to_virt(m);
	uint64_t hash;

	if (!name_settle(mm, gfn, page->word)) {
		guard_lost(mm, page);
		return 0;
	}
	counter_inc(&scan_scanned);
	if (page_is_zero(data)) {
		counter_inc(name_share_zero(mm, gfn, page->word) ? &scan_zero : &scan_lost);
		return 0;
	}
	hash = page_hash_ahead(data, arch_mfn_to_virt(p2m_mfn(next->word)));
	/* Not of contents that change under our eyes: they may get another guard's hash. */
	if (!name_is(mm, gfn, page->word)) {
		guard_lost(mm, page);
		return 0;
	}
	hash_set(page_of(m), hash);
	return hash;
}

void scan_hash(struct mm *mm, const struct scan_page *page, const struct scan_page *next)
{
	uint64_t hash = read_page(mm, page, next);

	if (hash)
		settle(mm, GFN(page->gfn), page->word, p2m_mfn(page->word), hash);
}

/* Fetch what the table names first under @hash into the cache: it will be compared. */
static void fetch_candidate(uint64_t hash)
{
	struct share_look l;
	mfn_t f;

	share_look_start(&l, hash);
	if (!share_look_next(&l, &f))
		return;
	__builtin_prefetch(page_of(f), 1);
	for (unsigned i = 0; i < PAGE_SIZE; i += CACHE_LINE)
		__builtin_prefetch((const char *)arch_mfn_to_virt(f) + i);
}

unsigned scan_hash_some(struct mm *mm, const struct scan_page *page, unsigned n)
{
	uint64_t hash[3] = {0}; /* of pages i, i - 1, i - 2, each modulo 3 */

	for (unsigned i = 0; i < n + 2; i++) {
		uint64_t *now = &hash[i % 3], old;

		if (i < n && preempt_pending())
			n = i;
		*now = i < n ? read_page(mm, &page[i], &page[i + 1 < n ? i + 1 : i]) : 0;
		if (*now)
			share_table_fetch(*now);
		if (i >= 1 && hash[(i - 1) % 3])
			fetch_candidate(hash[(i - 1) % 3]);
		old = i >= 2 ? hash[(i - 2) % 3] : 0;
		if (old)
			settle(mm, GFN(page[i - 2].gfn), page[i - 2].word,
			       p2m_mfn(page[i - 2].word), old);
	}
	return n;
}
