/* SPDX-License-Identifier: MIT */
/* Between torture_guest.c (data) and torture_tables.c (page tables). */
#ifndef STRESS_TORTURE_GUEST_H
#define STRESS_TORTURE_GUEST_H

#include "torture.h"

#define CHAOS_ENTRIES 12 /* of each chaos table, so that threads meet */

/** own_map() - alias entry number @i of this thread. */
static inline struct omap *own_map(struct tcpu *t, unsigned i)
{
	return &odoms[t->dom].map[t->id * T_MAPS + i];
}

/** use_data(), take_data() - name_use(), name_take(), when it is ordinary data. */
bool use_data(struct tcpu *t, uint64_t g);
bool take_data(struct tcpu *t, uint64_t g);
/** put_word() - write a word of this thread to name @g, which it uses, through @va. */
void put_word(struct tcpu *t, uint64_t g, uint64_t va);
/** write_dm() - write a word of this thread to name @g. */
void write_dm(struct tcpu *t, uint64_t g);
/** refill() - make name @g another template; balloon() - give it up or take it back. */
void refill(struct tcpu *t, uint64_t g);
void balloon(struct tcpu *t, uint64_t g);
/** write_template() - fill taken name @g through the direct map. */
void write_template(struct tcpu *t, uint64_t g, uint32_t k);
/** check_at() - compare name @g, read through @va (that of @map, or NULL), with the oracle. */
void check_at(struct tcpu *t, uint64_t g, uint64_t va, struct omap *map, bool full);

/** remap() - alias @i of this thread now maps @g (0: nothing). */
void remap(struct tcpu *t, unsigned i, uint64_t g, bool rw);
/** protect_maps() - all aliases of this thread become read-only. */
void protect_maps(struct tcpu *t);
/** own_table_op() - the next step in the life of this thread's own page table; @g: from what. */
void own_table_op(struct tcpu *t, uint64_t g);
/** own_table_drop() - make it data again. */
void own_table_drop(struct tcpu *t);
/** chaos() - entries that every thread changes as it likes. */
void chaos(struct tcpu *t);

#endif
