/* SPDX-License-Identifier: MIT */
/* Slot numbers and their records; see swap_slot.h. */
#include "memsvc/swap_slot.h"

#include "core/lib.h"
#include "percpu/pcpu.h"

#define PER_FRAME 256
#define MAGAZINE 256
#define NEXT_MASK ((1u << 29) - 1)
/* Slots released in one go; more wait for another grace period, so that callbacks stay short. */
#define RELEASE_MAX 1024

#define L1_BITS 8 /* slots in a frame */
#define L2_BITS 9
#define L3_BITS (SWAP_SLOT_BITS - L1_BITS - L2_BITS)

static struct {
	_Atomic uint64_t root[1 << L3_BITS]; /* addresses of frames with addresses */
	_Atomic uint64_t frames;
	_Atomic uint32_t bump CACHE_ALIGNED; /* next number never used; a multiple of PER_FRAME */
	/* tag 32-63, first number of the first magazine; 0: empty. */
	_Atomic uint64_t depot CACHE_ALIGNED;
} slots;

void swap_slots_init(void)
{
	for (unsigned i = 0; i < 1u << L3_BITS; i++)
		atomic_store(&slots.root[i], 0);
	atomic_store(&slots.frames, 0);
	atomic_store(&slots.bump, 0);
	atomic_store(&slots.depot, 0);
}

uint64_t swap_slots_frames(void)
{
	return atomic_load_explicit(&slots.frames, memory_order_relaxed);
}

struct swap_slot *swap_slot_rec(uint32_t slot)
{
	_Atomic uint64_t *mid;
	struct swap_slot *leaf;

	if (!slot || slot >> SWAP_SLOT_BITS)
		return NULL;
	/* PAIRS: swap_slots */
	mid = (_Atomic uint64_t *)atomic_load_explicit(&slots.root[slot >> (L1_BITS + L2_BITS)],
						       memory_order_acquire);
	if (!mid)
		return NULL;
	leaf = (struct swap_slot *)atomic_load_explicit(
		&mid[slot >> L1_BITS & ((1 << L2_BITS) - 1)], memory_order_acquire);
	return leaf ? &leaf[slot & (PER_FRAME - 1)] : NULL;
}

static struct swap_slot *rec_of(uint32_t slot)
{
	struct swap_slot *s = swap_slot_rec(slot);

	BUG_ON(!s);
	return s;
}

static uint32_t next_of(const struct swap_slot *s)
{
	return atomic_load_explicit(&s->link, memory_order_relaxed) & NEXT_MASK;
}

/* ---- free numbers ---------------------------------------------------------------------------- */

static void push_free(struct swap_slots_pcpu *sp, uint32_t slot)
{
	atomic_store_explicit(&rec_of(slot)->link, sp->free, memory_order_relaxed);
	sp->free = slot;
	sp->nr_free++;
}

/* The first MAGAZINE of this pCPU's. Release: who pops sees their links. PAIRS: swap_depot */
static void depot_put(struct swap_slots_pcpu *sp)
{
	uint64_t old = atomic_load_explicit(&slots.depot, memory_order_relaxed);
	uint32_t first = sp->free, last = first;
	CAS_LOOP(loop, "depot of swap slots, put");

	for (unsigned i = 1; i < MAGAZINE; i++)
		last = next_of(rec_of(last));
	sp->free = next_of(rec_of(last));
	sp->nr_free -= MAGAZINE;
	atomic_store_explicit(&rec_of(last)->link, 0, memory_order_relaxed);
	do {
		atomic_store_explicit(&rec_of(first)->check, (uint32_t)old, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
			 &slots.depot, &old, ((old >> 32) + 1) << 32 | first, memory_order_release,
			 memory_order_relaxed) &&
		 retry(&loop));
}

/* Acquire. check may be that of a magazine popped meanwhile: then the tag differs. PAIRS: swap_depot */
static bool depot_get(struct swap_slots_pcpu *sp)
{
	uint64_t old = atomic_load_explicit(&slots.depot, memory_order_acquire);
	uint32_t next;
	CAS_LOOP(loop, "depot of swap slots, get");

	do {
		if (!(uint32_t)old)
			return false;
		next = atomic_load_explicit(&rec_of((uint32_t)old)->check, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
			 &slots.depot, &old, ((old >> 32) + 1) << 32 | next, memory_order_acquire,
			 memory_order_acquire) &&
		 retry(&loop));
	sp->free = (uint32_t)old;
	sp->nr_free = MAGAZINE;
	return true;
}

static void *table_page(void)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);

	if (!mfn_valid_value(m))
		return NULL;
	atomic_fetch_add_explicit(&slots.frames, 1, memory_order_relaxed);
	return arch_mfn_to_virt(m);
}

static void table_page_free(void *p)
{
	atomic_fetch_sub_explicit(&slots.frames, 1, memory_order_relaxed);
	page_free(arch_virt_to_mfn(p));
}

/* The middle level for number @slot, made when missing. */
static _Atomic uint64_t *mid_make(uint32_t slot)
{
	_Atomic uint64_t *where = &slots.root[slot >> (L1_BITS + L2_BITS)];
	uint64_t old = atomic_load_explicit(where, memory_order_acquire);
	void *page;

	if (old)
		return (_Atomic uint64_t *)old;
	page = table_page();
	if (!page)
		return NULL;
	/* PAIRS: swap_slots */
	if (atomic_compare_exchange_strong(where, &old, (uint64_t)page))
		return page;
	table_page_free(page);
	return (_Atomic uint64_t *)old;
}

/* A frame of new numbers. A number is taken from the bump only when all else is there. */
static bool grow(struct swap_slots_pcpu *sp)
{
	uint32_t first = atomic_load_explicit(&slots.bump, memory_order_relaxed);
	struct swap_slot *leaf = table_page();
	_Atomic uint64_t *mid;
	CAS_LOOP(loop, "new swap slots");

	if (!leaf)
		return false;
	do {
		mid = first >> SWAP_SLOT_BITS ? NULL : mid_make(first);
		if (!mid) {
			table_page_free(leaf);
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(&slots.bump, &first, first + PER_FRAME,
							memory_order_relaxed,
							memory_order_relaxed) &&
		 retry(&loop));
	retry_done(&loop);
	/* PAIRS: swap_slots */
	atomic_store_explicit(&mid[first >> L1_BITS & ((1 << L2_BITS) - 1)], (uint64_t)leaf,
			      memory_order_release);
	for (uint32_t i = PER_FRAME; i-- > 0;)
		if (first + i) /* 0 ends lists */
			push_free(sp, first + i);
	return true;
}

uint32_t swap_slot_get(struct swap_slots_pcpu *sp, struct swap_slot **rec)
{
	uint32_t slot;

	if (!sp->nr_free && !depot_get(sp) && !grow(sp))
		return 0;
	slot = sp->free;
	*rec = rec_of(slot);
	sp->free = next_of(*rec);
	sp->nr_free--;
	return slot;
}

void swap_slot_put(struct swap_slots_pcpu *sp, uint32_t slot)
{
	push_free(sp, slot);
	if (sp->nr_free >= 2 * MAGAZINE)
		depot_put(sp);
}

/* ---- freed, waiting -------------------------------------------------------------------------- */

static void grace_period_over(struct rcu_head *h);

static void wait_for_gp(struct swap_slots_pcpu *sp)
{
	sp->gp = true;
	call_rcu_hurry(&sp->rcu, grace_period_over);
}

static void grace_period_over(struct rcu_head *h)
{
	struct swap_slots_pcpu *sp = container_of(h, struct swap_slots_pcpu, rcu);

	for (unsigned n = 0; sp->waiting && n < RELEASE_MAX; n++) {
		uint32_t slot = sp->waiting;
		struct swap_slot *s = rec_of(slot);

		sp->waiting = next_of(s);
		swap_slot_release(sp, s);
		swap_slot_put(sp, slot);
	}
	if (!sp->waiting) {
		sp->waiting = sp->freed;
		sp->freed = 0;
	}
	sp->gp = false;
	if (sp->waiting)
		wait_for_gp(sp);
}

bool swap_slot_retire(struct swap_slots_pcpu *sp, uint32_t slot)
{
	struct swap_slot *s = swap_slot_rec(slot);
	uint32_t link = s ? atomic_load_explicit(&s->link, memory_order_relaxed) : 0;

	if (!link || link & SWAP_SLOT_FREED || swap_slot_kind(s) == SWAP_SLOT_FREE)
		return false;
	/* Only the one who took the number out of the name comes here. */
	atomic_store_explicit(&s->link, (link & ~NEXT_MASK) | SWAP_SLOT_FREED | sp->freed,
			      memory_order_relaxed);
	sp->freed = slot;
	if (!sp->gp) {
		sp->waiting = sp->freed;
		sp->freed = 0;
		wait_for_gp(sp);
	}
	return true;
}
