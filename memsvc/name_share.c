/* SPDX-License-Identifier: MIT */
/* Moves that sharing, swapping and sampling make, and references to shared frames; see name.h. */
#include "core/lib.h"
#include "memsvc/name_impl.h"
#include "memsvc/rmap.h"
#include "memsvc/share_table.h"
#include "memsvc/swap.h"
#include "percpu/pcpu.h"

/* References of a frame that was shared and is being freed. Not 0, which a private frame has: a slow
 * promoter would bring it back. */
#define REFS_DEAD UINT32_MAX

/* Frames that became shared, and that were freed again; the difference is share_frames(). */
static struct counter nr_shared = {.name = "frames_shared"};
static struct counter nr_unshared = {.name = "frames_unshared"};

static uint64_t word_of(struct gfn_rec *rec)
{
	return rec ? atomic_load_explicit(&rec->word, memory_order_acquire) : 0;
}

static enum name_state state_of(struct mm *mm, uint64_t gfn, uint64_t word)
{
	if (word & P2M_SPECIAL)
		return NAME_SPECIAL;
	if (word & P2M_SWAPPED)
		return NAME_SWAPPED;
	if (!(word & P2M_VALID))
		return p2m_promised(mm, gfn, word) ? NAME_VOID : NAME_GONE;
	if (word & P2M_BREAK)
		return NAME_BREAKING;
	return word & P2M_SHARED ? NAME_SHARED : NAME_PRIVATE;
}

static bool is_guarded(uint64_t word)
{
	return (word & (P2M_GUARD | P2M_SHARED)) == P2M_GUARD;
}

static bool is_settled(uint64_t word)
{
	/* PAIRS: settled */
	return is_guarded(word) && atomic_load_explicit(&page_of(p2m_mfn(word))->dom.settled,
							memory_order_acquire) == word;
}

void name_look(struct mm *mm, gfn_t gfn, struct name_view *out)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	uint64_t word = word_of(rec);

	out->word = word;
	out->state = state_of(mm, gfn.v, word);
	out->guarded = is_guarded(word);
	out->settled = is_settled(word);
	out->pinned = word & P2M_PINNED;
	out->sampled = word & P2M_SAMPLED;
	out->touched = word & P2M_TOUCHED;
	out->table = rec && rec_is_table(rec);
	out->mfn = word & P2M_VALID ? p2m_mfn(word) : INVALID_MFN;
	out->zero = word & P2M_SHARED && p2m_mfn(word).v == share_zero_frame().v;
	out->brought = rec && name_brought(rec, word);
}

bool name_is(struct mm *mm, gfn_t gfn, uint64_t word)
{
	return word_of(p2m_rec(mm, gfn.v)) == word;
}

uint64_t name_guard(struct mm *mm, gfn_t gfn)
{
	const unsigned not = P2M_RO | P2M_PINNED | P2M_SPECIAL | P2M_SHARED | P2M_GUARD |
			     P2M_BREAK | P2M_SAMPLED;
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	uint64_t word = word_of(rec), guarded;

	if ((word & (P2M_VALID | not )) != P2M_VALID || rec_is_table(rec) || rmap_too_many(rec))
		return 0;
	guarded = p2m_reflag(word, P2M_RO | P2M_GUARD, 0);
	if (!word_cas(rec, word, guarded))
		return 0;
	/* A promotion to a page table that began before sees the new word, or is seen here. */
	if (rec_is_table(rec)) {
		word_cas(rec, guarded, p2m_reflag(guarded, 0, P2M_RO | P2M_GUARD));
		return 0;
	}
	rmap_protect_all(mm, rec, gfn.v, p2m_mfn(guarded));
	return guarded;
}

bool name_settle(struct mm *mm, gfn_t gfn, uint64_t word)
{
	if (!name_is(mm, gfn, word))
		return false;
	/* Release: the settler's flush and grace period. PAIRS: settled */
	atomic_store_explicit(&page_of(p2m_mfn(word))->dom.settled, word, memory_order_release);
	return true;
}

uint64_t name_settled_word(struct mm *mm, gfn_t gfn)
{
	uint64_t word = word_of(p2m_rec(mm, gfn.v));

	return is_settled(word) ? word : 0;
}

bool name_of_frame(mfn_t m, struct mm **mm, gfn_t *gfn, uint64_t *word)
{
	struct page_info *pi = page_of(m);
	uint64_t state = atomic_load_explicit(&pi->state, memory_order_acquire);
	struct gfn_rec *rec;

	if ((state & 0xff) != PG_DOM)
		return false;
	/* Acquire: what another use has put there, it has after changing the type. PAIRS: frame_rec */
	rec = atomic_load_explicit(&pi->dom.rec, memory_order_acquire);
	/* The frame was private at both looks, so its record stays for this RCU section. */
	if (atomic_load_explicit(&pi->state, memory_order_relaxed) != state)
		return false;
	*word = word_of(rec);
	if (!is_settled(*word) || p2m_mfn(*word).v != m.v)
		return false;
	*mm = meta_mm(page_of(arch_virt_to_mfn(rec)));
	*gfn = GFN(p2m_rec_gfn(rec));
	return true;
}

/* From a settled word to @to; the private frame then has no entry and is on its way out. */
static bool replace(struct mm *mm, gfn_t gfn, uint64_t word, uint64_t to)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	mfn_t old = p2m_mfn(word);

	if (!rec || !is_settled(word) || !name_move(mm, rec, word, to))
		return false;
	/* Entries for the old frame show the same content until they go; it is not written. */
	rmap_clear_all(mm, rec, gfn.v, old);
	mm_count(mm, MMK_RETIRED, 1);
	tlb_retire(mm, page_of(old));
	return true;
}

uint64_t name_share(struct mm *mm, gfn_t gfn, uint64_t word, mfn_t f)
{
	const unsigned merged = P2M_VALID | P2M_RO | P2M_SHARED | P2M_GUARD | P2M_STALE;
	uint64_t to = p2m_word(word, f, merged | (word & P2M_TOUCHED));

	return replace(mm, gfn, word, to) ? to : 0;
}

uint64_t name_share_zero(struct mm *mm, gfn_t gfn, uint64_t word)
{
	return name_share(mm, gfn, word, share_zero_frame());
}

uint64_t name_set_swapped(struct mm *mm, gfn_t gfn, uint64_t word, uint32_t slot)
{
	uint64_t to = p2m_word(word, MFN(slot), P2M_SWAPPED | P2M_STALE | (word & P2M_TOUCHED));

	return replace(mm, gfn, word, to) ? to : 0;
}

void name_flushed(struct mm *mm, gfn_t gfn, uint64_t word)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);

	if (rec)
		word_cas(rec, word, p2m_reflag(word, 0, P2M_STALE));
}

bool name_promote(struct mm *mm, gfn_t gfn, uint64_t word)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	struct page_info *pi = page_of(p2m_mfn(word));
	uint32_t none = 0;

	/* The reference first, since the guest may break the share at once. It also keeps other
	 * promoters off. */
	if (!rec || !is_settled(word) ||
	    !atomic_compare_exchange_strong(&pi->dom.refs, &none, REFS_BROUGHT | 1))
		return false;
	if (!name_move(mm, rec, word, p2m_reflag(word, P2M_SHARED, P2M_GUARD))) {
		atomic_store(&pi->dom.refs, 0);
		return false;
	}
	/* Freed at the earliest after this RCU section, whoever drops references meanwhile. */
	page_set_type(pi, PG_DOM, PG_SHARED, PG_NO_OWNER);
	counter_register(&nr_shared);
	counter_inc(&nr_shared);
	return true;
}

bool name_sample(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	uint64_t word = word_of(rec);

	if ((word & (P2M_VALID | P2M_PINNED | P2M_SPECIAL | P2M_BREAK | P2M_SAMPLED)) !=
		    P2M_VALID ||
	    rec_is_table(rec) || rmap_too_many(rec))
		return false;
	/* The content does not change by this: a settled word stays settled. */
	if (!word_cas(rec, word, p2m_reflag(word, P2M_SAMPLED, 0)))
		return false;
	rmap_clear_all(mm, rec, gfn.v, p2m_mfn(word));
	return true;
}

bool name_sample_end(struct mm *mm, gfn_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn.v);
	uint64_t word = word_of(rec);
	CAS_LOOP(loop, "name sampled, end");

	for (; word & P2M_SAMPLED; retry(&loop))
		if (atomic_compare_exchange_strong(&rec->word, &word,
						   p2m_reflag(word, 0, P2M_SAMPLED)))
			return false;
	return true;
}

bool share_get(mfn_t f)
{
	struct page_info *pi = page_of(f);
	uint32_t refs = atomic_load_explicit(&pi->dom.refs, memory_order_relaxed);
	CAS_LOOP(loop, "shared frame, get");

	if (page_type(pi) != PG_SHARED)
		return false;
	do {
		if (!refs || refs == REFS_DEAD)
			return false;
	} while (!atomic_compare_exchange_weak(&pi->dom.refs, &refs, refs + 1) && retry(&loop));
	return true;
}

static void shared_free(struct rcu_head *h)
{
	struct page_info *pi = container_of((void *)h, struct page_info, rcu);

	/* Entries from before it was shared lead to its record: late as any private frame's. */
	if (atomic_load_explicit(&pi->dom.late, memory_order_acquire)) { /* PAIRS: tlb_late */
		atomic_store_explicit(&pi->dom.late, 0, memory_order_relaxed);
		call_rcu(h, shared_free);
		return;
	}
	page_free(mfn_of(pi));
}

void share_put(mfn_t f, const struct gfn_rec *rec)
{
	struct page_info *pi = page_of(f);
	uint32_t refs = atomic_load_explicit(&pi->dom.refs, memory_order_relaxed), left;
	CAS_LOOP(loop, "shared frame, put");

	/* Only one name can be the one that brought it, and while it has its reference its record
	 * is not another's. */
	do {
		BUG_ON(!refs || refs == REFS_DEAD);
		left = refs & REFS_BROUGHT && rec == frame_rec(pi) ? REFS_COUNT(refs) : refs;
		left = REFS_COUNT(left) == 1 ? REFS_DEAD : left - 1;
	} while (!atomic_compare_exchange_weak(&pi->dom.refs, &refs, left) && retry(&loop));
	retry_done(&loop);
	if (left != REFS_DEAD)
		return;
	share_table_forget(f);
	counter_register(&nr_unshared);
	counter_inc(&nr_unshared);
	call_rcu((struct rcu_head *)pi->rcu, shared_free);
}

uint32_t share_refs(mfn_t f)
{
	return REFS_COUNT(atomic_load(&page_of(f)->dom.refs));
}

int64_t share_frames(void)
{
	return (int64_t)(counter_sum(&nr_shared) - counter_sum(&nr_unshared));
}
