/* SPDX-License-Identifier: MIT */
/* What the files of name.h share among themselves, and with p2m.c and mm.c. */
#ifndef MEMSVC_NAME_IMPL_H
#define MEMSVC_NAME_IMPL_H

#include "memsvc/name.h"
#include "memsvc/p2m.h"
#include "percpu/tlb.h"

/** word_cas() - the one way a word changes. Full fence. */
bool word_cas(struct gfn_rec *rec, uint64_t from, uint64_t to);

/** name_move() - word_cas() and the counters. */
bool name_move(struct mm *mm, struct gfn_rec *rec, uint64_t from, uint64_t to);

/* page_info.dom.refs: how many, and that the name in dom.rec, which had the frame before it was shared,
 * still has its reference. */
#define REFS_BROUGHT (1u << 31)
#define REFS_COUNT(refs) ((refs) & ~REFS_BROUGHT)

/** name_brought() - whether @word of @rec shares a frame that this name has brought. As long as the
 * name's reference is there, from before it gets @word to after it has lost it, the answer is the
 * same. */
static inline bool name_brought(const struct gfn_rec *rec, uint64_t word)
{
	const struct page_info *pi = page_of(p2m_mfn(word));

	return unlikely(word & P2M_SHARED) && word & P2M_TOUCHED && frame_rec(pi) == rec &&
	       atomic_load_explicit(&pi->dom.refs, memory_order_relaxed) & REFS_BROUGHT;
}

/** frame_become_private() - a PG_HYP frame to be put behind @rec. */
void frame_become_private(struct mm *mm, struct page_info *pi, struct gfn_rec *rec);

/** name_finish_break() - the rest of a break that @word (P2M_BREAK) began; anyone, any number of
 * times. */
void name_finish_break(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t word);

/** name_drop() - what was behind a name that had @word, and has another since: entries are cleared,
 * the frame, reference or slot is given back. For names given up and domains that end. */
void name_drop(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t word);

#endif
