/* SPDX-License-Identifier: MIT */
/*
 * The states of a name, and the moves between them.
 *
 *   void     promised, never touched: no frame, mostly no record either
 *   private  a frame of its own; guarded: write-protected, so that its content stays as it is
 *   shared   a frame that other names have too, counted by page_info.dom.refs, or the zero frame
 *   breaking a private copy of a shared frame, until no entry for the shared one is left
 *   swapped  in the swap device
 *   gone     given up by the guest
 *
 * Invariant: the P2M word alone says which; VALID with SHARED means that this name holds one
 * reference of the frame. A frame's content is constant while any word has it SHARED, and while a
 * word has it GUARDed and settled.
 * Linearization: each move is one CAS of the word. Every value is new (generation), so a word that
 * is unchanged means that nothing happened to the name; in particular no guest wrote to a settled
 * guarded page, since the first write takes the guard off. PAIRS: p2m_change
 *
 * Guard: CAS GUARD in; take RW from every entry; [look that it is no page table]; the caller
 * flushes the domain's TLBs, lets a grace period pass (hypervisor writers through the direct map
 * are RCU readers) and settles the word. Any later step fails if the guest was faster.
 * Break: copy; CAS to the copy, BREAK; clear every entry of the name; flush; CAS to plain
 * private. Only then is any entry writable, so no vCPU sees old data after new. Who meets BREAK
 * helps: all steps but the first can be done twice. A page that comes back from swap goes the same
 * way as long as it is STALE: sharing and swapping leave old translations, of the same content, to a
 * later flush. Who swaps out or shares clears the entries, flushes once for many names, and takes
 * STALE off (name_flushed()); from then on no pCPU can have a translation of the name, since what is
 * not present is not cached, and nothing enters one before the next move: its frame, or the copy that
 * a write makes of the shared one, is writable at once, with no entry to clear and no flush.
 * Merged: the word of a name just shared has GUARD beside SHARED, and STALE until it was flushed. A
 * mapper enters nothing for it (p2m_merged()), as for a swapped one: the guest's first access comes
 * here, and a read takes GUARD and STALE off before it may be entered. So an entry for the shared frame
 * is there only after the word has changed, and then name_flushed() fails, and a write breaks as above.
 * A mapper that stands with an earlier word between its look and its entry finds its pending entry
 * cleared, or the word changed (sync.c), before it makes it present: every word is new. An earlier
 * mover that still has a walk to do keeps the guard's grace period waiting, so before the sharer's own
 * walk, and the flush after it, all entries of earlier moves are gone.
 * Reclamation: a private frame that is replaced goes through tlb_retire(). A reference to a shared
 * frame is dropped only after the entries were cleared and the mm was flushed, or while the name was
 * merged, when there never were any; at 0 the frame
 * leaves the sharing table and is freed by RCU: who found it there is an RCU reader, and share_get()
 * never brings 0 back.
 *
 * What sharing saves: of the names that share a frame, the one whose own it was (BROUGHT) costs it, all
 * others cost nothing. When that name leaves, the others keep the frame, which then is nobody's:
 *   saved by a domain = its names that share - those that brought their frame
 *   saved in all = sum of these - (shared frames - sum of BROUGHT) - (1 for the zero frame)
 * REFS_BROUGHT in the count of references tells it, so each counter changes with the name's word.
 *
 * Hypervisor context, RCU online, no sleeping, any pCPU. Lock-free.
 */
#ifndef MEMSVC_NAME_H
#define MEMSVC_NAME_H

#include "memsvc/mm.h"

enum name_state {
	NAME_VOID,
	NAME_PRIVATE,
	NAME_SHARED,
	NAME_BREAKING,
	NAME_SWAPPED,
	NAME_GONE,
	NAME_SPECIAL
};

struct name_view {
	enum name_state state;
	bool guarded, settled, pinned, table, zero, brought, sampled, touched;
	mfn_t mfn; /* private, shared, breaking, special */
	uint64_t word;
};

/** name_look() - what is behind a name now. A snapshot. */
void name_look(struct mm *mm, gfn_t gfn, struct name_view *out);

/**
 * name_touch() - see that a name has a frame, for @write: one of its own. @urgent: the hypervisor's
 * own need, goes on when memory is short. 0, -XEN_EINVAL (no such name, or given up), -XEN_ENOMEM,
 * -XEN_EIO (the swap device failed). On 0 the state may have changed again.
 */
int name_touch(struct mm *mm, uint64_t gfn, bool write, bool urgent);

/**
 * name_guard() - write-protect a private name. Returns the guarded word, 0 when it cannot be: not
 * private, pinned, a page table, mapped too often. The caller then flushes (tlb_shootdown_mm(), one
 * for many names), lets a grace period pass and calls name_settle().
 */
uint64_t name_guard(struct mm *mm, gfn_t gfn);

/** name_settle() - the flush and the grace period after name_guard() are over: from now on the
 * content is constant while name_is(mm, gfn, word). False if the word has changed. */
bool name_settle(struct mm *mm, gfn_t gfn, uint64_t word);

/** name_is() - whether the name still has this word. */
bool name_is(struct mm *mm, gfn_t gfn, uint64_t word);

/** name_settled_word() - the word of a guarded and settled name, else 0. */
uint64_t name_settled_word(struct mm *mm, gfn_t gfn);

/** name_of_frame() - the name that frame @m is private to, if it is guarded and settled. The mm is
 * valid in this RCU section. */
bool name_of_frame(mfn_t m, struct mm **mm, gfn_t *gfn, uint64_t *word);

/**
 * name_promote() - make the frame of a settled name a shared one, with one reference, the name's.
 * After this share_get() may give more. False: has changed, or another promotes it.
 */
bool name_promote(struct mm *mm, gfn_t gfn, uint64_t word);

/**
 * name_share() - let a settled name mean shared frame @f, of the same content; the old frame is
 * retired. The name takes over a reference that the caller got by share_get(@f). Returns the merged
 * word; 0: has changed, the reference still is the caller's.
 */
uint64_t name_share(struct mm *mm, gfn_t gfn, uint64_t word, mfn_t f);

/** name_share_zero() - the same with the zero frame, which needs no reference. */
uint64_t name_share_zero(struct mm *mm, gfn_t gfn, uint64_t word);

/** name_set_swapped() - the content of a settled name is at @slot of the swap device now; the frame
 * is retired. Returns the swapped word; 0: has changed, the slot is the caller's to free. */
uint64_t name_set_swapped(struct mm *mm, gfn_t gfn, uint64_t word, uint32_t slot);

/** name_flushed() - the mm was flushed after name_set_swapped(), name_share() or name_share_zero() had
 * returned @word: coming back, or a write, needs no flush. Nothing if the name has moved on. */
void name_flushed(struct mm *mm, gfn_t gfn, uint64_t word);

/** name_sample() - take away all mappings of a name, so that its next access is noticed. The caller
 * flushes. False when there is nothing to sample (no frame, pinned, a page table). */
bool name_sample(struct mm *mm, gfn_t gfn);

/** name_sample_end() - whether the guest accessed a sampled name since; the sample is over. */
bool name_sample_end(struct mm *mm, gfn_t gfn);

/** share_get() - one more reference to a shared frame; false when it is none, or being freed. In the
 * RCU section in which it was found. */
bool share_get(mfn_t f);

/** share_put() - drop one, @rec's (NULL: that of no name yet). Entries of the name that held it are
 * gone, and flushed, or there were none. */
void share_put(mfn_t f, const struct gfn_rec *rec);

/** share_refs() - references there are now. */
uint32_t share_refs(mfn_t f);

/** share_frames() - shared frames now, the zero frame not counted; exact at rest. */
int64_t share_frames(void);

/** share_breaks() - shares broken so far by writes. */
uint64_t share_breaks(void);

/** share_breaks_quiet() - of these, those that needed no flush: nothing had used the name since it was
 * merged. */
uint64_t share_breaks_quiet(void);

#endif
