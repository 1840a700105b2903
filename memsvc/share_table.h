/* SPDX-License-Identifier: MIT */
/*
 * The sharing table: from the hash of a page's contents to frames that had these contents.
 *
 * An array of 64-byte lines of 8 words, sized from memory (2 words per frame). A word is an entry
 * (bits 0-31 mfn, 32 shared, 33-63 tag: part of the hash) or 0. A hash selects a group of
 * SHARE_LINES neighbouring lines; its entries can be anywhere in them. An entry is a hint in the
 * word's plain sense: it says where to look, never what is there. A lookup therefore asks the
 * frame's own record what it is now, and its page what it holds.
 *
 * Invariant: a word is changed by a CAS only, from one of its values to another; an entry made for
 *   a shared frame (share_table_insert() by who holds a reference) is found by every later lookup
 *   of its hash until share_table_forget(), which the last reference's end calls. Entries of hints
 *   (private, write-protected frames) may vanish and may be stale.
 * Linearization: insert, replace and remove at their CAS; a lookup at the load of each word.
 * Orders: the CAS of an insert releases what was written to the frame's record (its hash) before;
 *   a lookup acquires it. PAIRS: share_entry. Nothing else is ordered by the table: whoever acts on
 *   a frame does so by a CAS of a name's word or of its reference count.
 * Progress: every operation looks at SHARE_LINES * 8 words; insert tries again only when another
 *   CPU changed one of them, SHARE_TRIES times at most: wait-free.
 * Before share_table_init() the table is empty and takes nothing.
 * Reclamation: the table is never freed. A frame found in it may be on its way out or have another
 *   use already; its record stays readable, and RCU protects the rest: a frame seen as PG_SHARED or
 *   PG_DOM in a read section is not reused before that section's end.
 * ABA: an entry removed and made again is the same hint again. Remove may so hit the younger one;
 *   a hint is then entered again when its page is next visited.
 */
#ifndef MEMSVC_SHARE_TABLE_H
#define MEMSVC_SHARE_TABLE_H

#include "core/types.h"
#include "memsvc/page_hash.h"

#define SHARE_LINES 2 /* in a group */
#define SHARE_WORDS (SHARE_LINES * 8)
#define SHARE_TRIES 8

/**
 * share_table_init() - make the table for a machine of @frames frames (boot, or before a test's
 * threads start; an older table is left behind). Seeds page_hash(). 0 or -XEN_ENOMEM.
 */
int share_table_init(uint64_t frames);

/** share_table_ready() - whether share_table_init() has succeeded. */
bool share_table_ready(void);

/* A lookup under way. */
struct share_look {
	_Atomic uint64_t *group;
	uint64_t tag;
	unsigned at;
};

/** share_table_fetch() - bring what a lookup of @hash will read into the cache. */
void share_table_fetch(uint64_t hash);

/** share_look_start() - look up @hash; @l lives within one RCU read section. */
void share_look_start(struct share_look *l, uint64_t hash);

/** share_look_next() - the next frame entered under this hash (or, rarely, under another one with
 * the same tag) in *@f; false when there are no more. */
bool share_look_next(struct share_look *l, mfn_t *f);

/**
 * share_table_insert() - enter @f under @hash; @shared: as a shared frame, to which the caller holds
 * a reference, else as a hint. An entry that is there already stays, or turns from hint to shared.
 * In a full group a hint makes room, a stale one rather than a good one. False: no room. RCU online.
 */
bool share_table_insert(uint64_t hash, mfn_t f, bool shared);

/** share_table_remove() - remove the hint @f under @hash, if it is one: who finds it useless may look
 * at a page that is just being promoted. */
void share_table_remove(uint64_t hash, mfn_t f);

/** share_table_forget() - remove the entry of a shared frame that has lost its last reference; its
 * record has the hash. */
void share_table_forget(mfn_t f);

/** share_table_entries() - number of entries now, by walking all of it (tests, reports). */
uint64_t share_table_entries(bool shared);

#endif
