/* SPDX-License-Identifier: MIT */
/* What the scanner does with one page; see scan.h. */
#include "core/arch.h"
#include "memsvc/name.h"
#include "memsvc/p2m.h"
#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"
#include "percpu/pcpu.h"

#define POLL 4 /* pages between two looks whether the pCPU is wanted */

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
	atomic_store_explicit(&pi->dom.scan, (uint16_t)n, memory_order_relaxed);
}

static uint64_t hash_of(const struct page_info *pi)
{
	return atomic_load_explicit(&pi->dom.hash, memory_order_relaxed);
}

static void hash_set(struct page_info *pi, uint64_t hash)
{
	atomic_store_explicit(&pi->dom.hash, hash, memory_order_relaxed); /* PAIRS: hint_hash */
}

/* The page's hash as long as its contents stay: @hash in place of @was, which was there before it was
 * read, unless another scanner came first. 0: the guest has written to it. */
static uint64_t hash_adopt(struct page_info *pi, uint64_t was, uint64_t hash)
{
	/* PAIRS: hint_hash */
	if (was == hash || atomic_compare_exchange_strong(&pi->dom.hash, &was, hash))
		return hash;
	return was;
}

/*
 * page_info.dom.follow: 0, or the frame behind the name after this one's, when a scanner last saw
 * both. NULL: @f is no domain's frame now. Behind a name or known from the table it does not become
 * another's within this read section; else what is read is a number of some frame, and only that.
 */
static _Atomic uint32_t *follow_of(mfn_t f)
{
	struct page_info *pi = page_of(f);
	enum page_type t = page_type(pi);

	return t == PG_SHARED || t == PG_DOM ? &pi->dom.follow : NULL;
}

static mfn_t follower(mfn_t f)
{
	_Atomic uint32_t *follow = mfn_valid_value(f) ? follow_of(f) : NULL;
	uint32_t next = follow ? atomic_load_explicit(follow, memory_order_relaxed) : 0;

	return next ? MFN(next) : INVALID_MFN;
}

/* The names of @before and @f follow each other; both have been seen behind them. */
static void link_frames(mfn_t before, mfn_t f)
{
	_Atomic uint32_t *follow;

	if (!mfn_valid_value(before) || !mfn_valid_value(f))
		return;
	follow = follow_of(before);
	if (follow && atomic_load_explicit(follow, memory_order_relaxed) != f.v)
		atomic_store_explicit(follow, (uint32_t)f.v, memory_order_relaxed);
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

/* A page that is compared with frames, and what is fetched into the cache meanwhile. */
struct compare {
	const void *page, *next; /* the one after it */
	mfn_t m;		 /* its frame */
	uint64_t merged;	 /* its name's word, if it was swung to one */
	bool entered;		 /* it is in the table itself */
	bool guessed;		 /* the frame was not found in the table */
	bool differs;		 /* from a frame that is entered under the same hash */
};

static bool same(struct compare *c, mfn_t f)
{
	mfn_t after;

	if (!c->guessed) {
		bool equal = page_equal(c->page, arch_mfn_to_virt(f));

		c->differs |= !equal;
		return equal;
	}
	after = follower(f);
	if (mfn_valid_value(after))
		__builtin_prefetch(page_of(after), 1);
	return page_equal_ahead(c->page, arch_mfn_to_virt(f), c->next,
				arch_mfn_to_virt(mfn_valid_value(after) ? after : f));
}

/* A reference to @f as a shared frame of the same contents, promoting it if it is a hint. */
static bool get_equal(struct compare *c, mfn_t f, uint64_t hash)
{
	struct page_info *pi = page_of(f);
	bool enter = !c->guessed;
	struct mm *mm;
	gfn_t gfn;
	uint64_t word;

	switch (page_type(pi)) {
	case PG_SHARED:
		/* What is shared does not change. */
		if (hash_of(pi) != hash || !same(c, f))
			return false;
		break;
	case PG_DOM:
		if (!name_of_frame(f, &mm, &gfn, &word) || hash_of(pi) != hash) {
			share_table_remove(hash, f);
			return false;
		}
		/* Two hints that find each other must agree on which one stays. */
		if (c->entered && c->m.v < f.v)
			return false;
		if (!same(c, f) || !name_promote(mm, gfn, word))
			return false;
		enter = true;
		break;
	default:
		share_table_remove(hash, f);
		return false;
	}
	if (!share_get(f))
		return false;
	/* With the reference, so that it is not forgotten before it is entered. Who promoted a frame
	 * that was guessed has done it, or is about to. */
	if (enter && !share_table_insert(hash, f, true))
		counter_inc(&scan_full);
	return true;
}

/* Swing a name to @f with the reference that get_equal() gave. */
static bool merge(struct compare *c, struct mm *mm, gfn_t gfn, uint64_t word, mfn_t f)
{
	c->merged = name_share(mm, gfn, word, f);
	if (c->merged) {
		counter_inc(&scan_merged);
		return true;
	}
	share_put(f, NULL);
	counter_inc(&scan_lost);
	return false;
}

/* For scan_flush_merged(). */
static void note_merged(struct scan_page *page, const struct compare *c)
{
	if (c->merged)
		page->word = c->merged;
}

static void enter(struct mm *mm, mfn_t m, uint64_t hash)
{
	if (share_table_insert(hash, m, false)) {
		counter_inc(&scan_hints);
		mm_count(mm, MMC_HINTS, 1);
	} else {
		counter_inc(&scan_full);
	}
}

/* Merge a settled page with one that the table has under @hash. True: *@frame is behind the name now;
 * INVALID: its guest was faster. */
static bool join(struct mm *mm, gfn_t gfn, uint64_t word, uint64_t hash, struct compare *c,
		 mfn_t *frame)
{
	bool others = false;
	struct share_look l;
	mfn_t f;

	share_look_start(&l, hash);
	while (share_look_next(&l, &f)) {
		c->entered |= f.v == c->m.v;
		others |= f.v != c->m.v;
	}
	if (others)
		share_look_start(&l, hash);
	while (others && share_look_next(&l, &f)) {
		if (f.v == c->m.v || !get_equal(c, f, hash))
			continue;
		*frame = INVALID_MFN;
		if (!merge(c, mm, gfn, word, f))
			return true;
		if (c->entered)
			share_table_remove(hash, c->m);
		*frame = f;
		return true;
	}
	return false;
}

/* A settled page whose record has the hash: merge it, or see that it is entered. The frame that the
 * name has then. */
static mfn_t settle(struct mm *mm, struct scan_page *page, uint64_t hash)
{
	mfn_t m = p2m_mfn(page->word), f;
	struct compare c = {.page = arch_mfn_to_virt(m), .m = m};

	if (join(mm, GFN(page->gfn), page->word, hash, &c, &f)) {
		note_merged(page, &c);
		return f;
	}
	if (!c.entered)
		enter(mm, m, hash);
	return m;
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
		*page = (struct scan_page){gfn.v, v.word};
		settle(mm, page, hash);
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

/* A page of the batch on its way. */
struct outcome {
	struct scan_page *page;
	uint64_t hash; /* to be placed with; 0: is done */
	uint64_t was;  /* the record's before */
	mfn_t frame;   /* behind its name, or while it has a hash: probably; INVALID: not known */
	mfn_t before;  /* behind the name before, when that is not in the batch, but is shared */
	bool found;    /* in the table under its hash: @frame */
	bool sketched; /* the hash is a sketch */
	bool read;
};

#define OUTCOME(p) ((struct outcome){.page = (p), .frame = INVALID_MFN, .before = INVALID_MFN})

/* Whether the page equals @f, which followed the last one's frame: then it is merged, or its guest
 * was faster. */
static bool guess(struct mm *mm, struct outcome *o, const void *next, mfn_t f)
{
	uint64_t word = o->page->word;
	struct compare c = {.page = arch_mfn_to_virt(p2m_mfn(word)),
			    .next = next,
			    .m = p2m_mfn(word),
			    .guessed = true};
	struct page_info *pi = page_of(f);
	enum page_type t = page_type(pi);
	uint64_t hash = t == PG_SHARED || t == PG_DOM ? hash_of(pi) : 0;

	/* One with a hash of its own is known to another scanner: they must agree, by settle(). */
	if (!hash || f.v == c.m.v || hash_of(page_of(c.m)))
		return false;
	if (t == PG_DOM)
		share_table_fetch(hash);
	if (!get_equal(&c, f, hash))
		return false;
	if (merge(&c, mm, GFN(o->page->gfn), word, f))
		o->frame = f;
	note_merged(o->page, &c);
	counter_inc(&scan_guessed);
	return true;
}

/* Read a page that is ready; @next comes after it, @follows may have the same contents. */
static void read_page(struct mm *mm, struct outcome *o, const struct scan_page *next, mfn_t follows)
{
	struct scan_page *page = o->page;
	gfn_t gfn = GFN(page->gfn);
	mfn_t m = p2m_mfn(page->word);
	const void *data = arch_mfn_to_virt(m), *ahead = arch_mfn_to_virt(p2m_mfn(next->word));
	uint64_t hash;

	if (!name_settle(mm, gfn, page->word)) {
		guard_lost(mm, page);
		return;
	}
	o->read = true;
	o->was = hash_of(page_of(m));
	if (mfn_valid_value(follows) && guess(mm, o, ahead, follows))
		return;
	if (page_is_zero(data)) {
		uint64_t merged = name_share_zero(mm, gfn, page->word);

		counter_inc(merged ? &scan_zero : &scan_lost);
		page->word = merged ? merged : page->word;
		return;
	}
	hash = page_sketch(data, ahead);
	o->sketched = hash != 0;
	if (!hash)
		hash = page_hash_ahead(data, ahead);
	/* Not of contents that change under our eyes: they may get another guard's hash. */
	if (!name_is(mm, gfn, page->word)) {
		guard_lost(mm, page);
		return;
	}
	share_table_fetch(hash);
	o->hash = hash;
}

/* What the table names first under the hash, fetched into the cache: it will be compared. */
static void find_candidate(struct outcome *o)
{
	const char *page;
	struct share_look l;

	if (!o->hash)
		return;
	share_look_start(&l, o->hash);
	o->found = share_look_next(&l, &o->frame);
	if (!o->found)
		return;
	__builtin_prefetch(page_of(o->frame), 1);
	page = arch_mfn_to_virt(p2m_mfn(o->page->word));
	for (unsigned i = 0; i < PAGE_SIZE; i += CACHE_LINE) {
		__builtin_prefetch((const char *)arch_mfn_to_virt(o->frame) + i);
		__builtin_prefetch(page + i);
	}
}

static bool neighbours(const struct outcome *a, const struct outcome *b)
{
	return a->page && b->page && a->page->gfn + 1 == b->page->gfn;
}

/*
 * A page that has been read: merge it or enter it; under the hash of all of it, when its sketch is that
 * of another page, too, or another scanner may have done so. The frame behind its name then.
 */
static mfn_t place(struct mm *mm, const struct outcome *o)
{
	uint64_t word = o->page->word, hash = o->hash, now;
	gfn_t gfn = GFN(o->page->gfn);
	mfn_t m = p2m_mfn(word), f;
	struct compare c = {.page = arch_mfn_to_virt(m), .m = m};

	if (o->found && join(mm, gfn, word, hash, &c, &f)) {
		note_merged(o->page, &c);
		return f;
	}
	if (o->sketched && o->was != hash && (c.differs || o->was)) {
		hash = page_hash_ahead(c.page, c.page);
		if (!name_is(mm, gfn, word))
			return INVALID_MFN;
	}
	now = hash_adopt(page_of(m), o->was, hash);
	if (!now)
		return INVALID_MFN;
	if (now != o->hash)
		return settle(mm, o->page, now);
	if (!c.entered)
		enter(mm, m, hash);
	return m;
}

/*
 * Settle a page; @last is the one before it. What another pCPU has entered since the table was asked
 * is found when this hint is next visited.
 */
static void finish(struct mm *mm, const struct outcome *last, struct outcome *o)
{
	if (!o->page)
		return;
	if (o->hash)
		o->frame = place(mm, o);
	o->hash = 0;
	link_frames(neighbours(last, o) ? last->frame : o->before, o->frame);
}

static void count_read(struct mm *mm, unsigned n)
{
	counter_add(&scan_scanned, n);
	mm_count(mm, MMC_SCANNED, n);
}

void scan_hash(struct mm *mm, struct scan_page *page, const struct scan_page *next)
{
	struct outcome o = OUTCOME(page), none = OUTCOME(NULL);

	read_page(mm, &o, next, INVALID_MFN);
	count_read(mm, o.read);
	find_candidate(&o);
	finish(mm, &none, &o);
}

/* What is behind the name before @page, if that is shared. Not across a run of names that scanners
 * take as one: another pCPU may be at work there. */
static mfn_t shared_before(struct mm *mm, const struct scan_page *page)
{
	struct name_view v;

	if (page->gfn % RECS_PER_LEAF == 0)
		return INVALID_MFN;
	name_look(mm, GFN(page->gfn - 1), &v);
	return v.state == NAME_SHARED && !v.zero ? v.mfn : INVALID_MFN;
}

/* Which frame is probably behind the name before that of @o; @last and @older come before it. */
static mfn_t frame_before(struct mm *mm, const struct outcome *older, const struct outcome *last,
			  struct outcome *o)
{
	if (!neighbours(last, o)) {
		o->before = shared_before(mm, o->page);
		return o->before;
	}
	if (!last->hash)
		return last->frame;
	/* The table has not been asked yet. */
	return neighbours(older, last) ? follower(older->frame) : INVALID_MFN;
}

static void fetch_records(struct mm *mm, const struct scan_page *page)
{
	__builtin_prefetch(p2m_rec(mm, page->gfn), 1);
	__builtin_prefetch(page_of(p2m_mfn(page->word)), 1);
}

/*
 * Page i is read, the table is asked for page i - 1, and page i - 2 is settled: what each step needs
 * of the memory comes while the others work.
 */
unsigned scan_hash_some(struct mm *mm, struct scan_page *page, unsigned n)
{
	struct outcome o[4] = {OUTCOME(NULL), OUTCOME(NULL), OUTCOME(NULL), OUTCOME(NULL)};
	unsigned read = 0;

	for (unsigned i = 0; i < n + 2; i++) {
		struct outcome *now = &o[i % 4], *last = &o[(i + 3) % 4], *older = &o[(i + 2) % 4];

		if (i < n && i % POLL == 0 && preempt_pending())
			n = i;
		if (i + 2 < n)
			fetch_records(mm, &page[i + 2]);
		*now = OUTCOME(i < n ? &page[i] : NULL);
		if (now->page)
			read_page(mm, now, &page[i + 1 < n ? i + 1 : i],
				  follower(frame_before(mm, older, last, now)));
		read += now->read;
		finish(mm, &o[(i + 1) % 4], older);
		find_candidate(last); /* after all before it have been entered */
	}
	count_read(mm, read);
	return n;
}

void scan_flush_merged(struct mm *mm, const struct scan_page *page, unsigned n)
{
	unsigned merged = 0;

	for (unsigned i = 0; i < n; i++)
		merged += p2m_merged(page[i].word);
	if (merged < SCAN_FLUSH_MIN)
		return;
	tlb_shootdown_mm(mm);
	for (unsigned i = 0; i < n; i++)
		if (p2m_merged(page[i].word))
			name_flushed(mm, GFN(page[i].gfn), page[i].word);
}
