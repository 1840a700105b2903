/* SPDX-License-Identifier: MIT */
/*
 * Slot numbers of the compressed store and the record behind each.
 *
 * Records live in frames found through a 3-level radix that only grows (a frame of 256 is installed
 * by whoever took its numbers from the bump, release; lookups acquire: PAIRS: swap_slots). Each
 * pCPU keeps a list of free numbers; a full half of it goes to the depot as a magazine, from which
 * an empty pCPU takes one. The depot's head has a tag that each push and pop increments (ABA);
 * records are never unmapped.
 * A slot in use belongs to the name that holds its number, so its record is written only while the
 * number is nobody's, and readers see it through the name's word (the CAS that made it SWAPPED
 * releases, its reader acquires).
 * Freed slots wait for a grace period on their pCPU's list, linked by the record, which is otherwise
 * left as it is: another vCPU may be loading it. There are two lists, one collecting and one
 * waiting, so that any number can wait without memory of its own.
 */
#ifndef MEMSVC_SWAP_SLOT_H
#define MEMSVC_SWAP_SLOT_H

#include "core/types.h"
#include "memsvc/frame.h"
#include "percpu/rcu.h"

enum swap_slot_kind {
	SWAP_SLOT_FREE,
	SWAP_SLOT_SAME,	 /* val: the word the page is full of */
	SWAP_SLOT_PACKED /* val: length 48-59, object's word (swap_space.h) */
};

struct swap_slot {
	_Atomic uint64_t val;
	_Atomic uint32_t check; /* of the content; in the depot: next magazine */
	_Atomic uint32_t link;	/* kind 29-30, freed 31, next number of a list 0-28 */
};
_Static_assert(sizeof(struct swap_slot) == 16, "256 in a frame");

#define SWAP_SLOT_BITS 26 /* 256 GiB in pages */
#define SWAP_SLOT_FREED (1u << 31)

static inline enum swap_slot_kind swap_slot_kind(const struct swap_slot *s)
{
	return (enum swap_slot_kind)(atomic_load_explicit(&s->link, memory_order_relaxed) >> 29 &
				     3);
}

/* Private to its pCPU. */
struct swap_slots_pcpu {
	uint32_t free, nr_free;
	uint32_t freed;	  /* list that collects */
	uint32_t waiting; /* list that waits for a grace period */
	bool gp;	  /* one is under way */
	struct rcu_head rcu;
};

/** swap_slots_init() - none yet. Boot, or none in use. */
void swap_slots_init(void);

/** swap_slots_frames() - frames of the records and the radix. They are kept for later slots. */
uint64_t swap_slots_frames(void);

/** swap_slot_get() - a free number and its record; 0 when there is no memory for one. This pCPU. */
uint32_t swap_slot_get(struct swap_slots_pcpu *sp, struct swap_slot **rec);

/** swap_slot_set() - what the slot holds; before its number is published. */
static inline void swap_slot_set(struct swap_slot *s, enum swap_slot_kind kind, uint64_t val,
				 uint32_t check)
{
	atomic_store_explicit(&s->val, val, memory_order_relaxed);
	atomic_store_explicit(&s->check, check, memory_order_relaxed);
	atomic_store_explicit(&s->link, (uint32_t)kind << 29, memory_order_relaxed);
}

/** swap_slot_rec() - the record of a number that was given out, else NULL. */
struct swap_slot *swap_slot_rec(uint32_t slot);

/** swap_slot_put() - a number nobody can know goes back at once. This pCPU. */
void swap_slot_put(struct swap_slots_pcpu *sp, uint32_t slot);

/**
 * swap_slot_retire() - after a grace period, on this pCPU, swap_slot_release() and the number is
 * free. False when it is not in use. This pCPU, RCU online.
 */
bool swap_slot_retire(struct swap_slots_pcpu *sp, uint32_t slot);

/** swap_slot_release() - what the slot's record leads to goes back; memsvc/swap_lz4.c. */
void swap_slot_release(struct swap_slots_pcpu *sp, struct swap_slot *s);

#endif
