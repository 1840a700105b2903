/* SPDX-License-Identifier: MIT */
/*
 * A swap device that checks how it is used: a slot is loaded only while a name can still mean it,
 * that is, until a grace period after it was freed, and is freed once.
 */
#include "memsvc/swap.h"
#include "memsvc/swap_pump.h"
#include "torture.h"

#define SLOTS 2048

enum slot_state { FREE, USED, FREED };

struct slot {
	_Atomic uint32_t state;
	struct rcu_head rcu;
	uint64_t page[512];
};

static struct slot slots[SLOTS + 1]; /* 0 is none */
static _Atomic uint32_t next;

/* The guest may be writing the page; then the name's word has changed, and the copy is not used. */
__attribute__((no_sanitize("thread"), optimize("no-tree-loop-distribute-patterns"))) static void
copy_words(uint64_t *to, const uint64_t *from)
{
	for (unsigned i = 0; i < 512; i++)
		to[i] = from[i];
}

static int store(struct swap_device *dev, const void *page, uint32_t *slot)
{
	(void)dev;
	for (unsigned tries = 0; tries < 64; tries++) {
		uint32_t i = 1 + atomic_fetch_add(&next, 1) % SLOTS, free = FREE;

		if (!atomic_compare_exchange_strong(&slots[i].state, &free, USED))
			continue;
		copy_words(slots[i].page, page);
		*slot = i;
		return 0;
	}
	return -XEN_ENOMEM;
}

static int load(struct swap_device *dev, uint32_t i, void *page)
{
	(void)dev;
	if (!i || i > SLOTS || atomic_load(&slots[i].state) == FREE)
		torture_fail("slot %u is loaded, which is free", i);
	memcpy(page, slots[i].page, PAGE_SIZE);
	if (atomic_load(&slots[i].state) == FREE)
		torture_fail("slot %u became free while it was loaded", i);
	return 0;
}

static void now_free(struct rcu_head *h)
{
	struct slot *s = container_of(h, struct slot, rcu);

	memset(s->page, 0xee, sizeof(s->page));
	atomic_store(&s->state, FREE);
}

static bool release(struct swap_device *dev, uint32_t i)
{
	uint32_t used = USED;

	(void)dev;
	if (!i || i > SLOTS || !atomic_compare_exchange_strong(&slots[i].state, &used, FREED))
		torture_fail("slot %u is freed, which is not in use", i);
	call_rcu(&slots[i].rcu, now_free);
	return true;
}

static void stats(struct swap_device *dev, struct swap_stats *out)
{
	(void)dev;
	for (unsigned i = 1; i <= SLOTS; i++) {
		out->slots += atomic_load(&slots[i].state) == USED;
		out->waiting += atomic_load(&slots[i].state) == FREED;
	}
}

static void set_limit(struct swap_device *dev, uint64_t frames)
{
	(void)dev;
	(void)frames;
}

static struct swap_device device = {.name = "torture",
				    .store = store,
				    .load = load,
				    .free = release,
				    .stats = stats,
				    .set_limit = set_limit};

void torture_swap_init(void)
{
	for (unsigned i = 0; i <= SLOTS; i++)
		atomic_store(&slots[i].state, FREE);
	swap_use(&device);
	if (swap_pump_init(nr_pcpus()))
		torture_fail("no memory for the swap pumps");
}

bool torture_swap_out(struct mm *mm, gfn_t gfn, uint64_t word, const void *page, bool flush)
{
	uint64_t swapped;
	uint32_t slot;

	if (store(&device, page, &slot))
		return false;
	swapped = name_set_swapped(mm, gfn, word, slot);
	if (!swapped) {
		swap_free(slot);
		return false;
	}
	if (!flush)
		return true;
	if (torture_variant != V_NO_SWAP_FLUSH)
		tlb_shootdown_mm(mm);
	name_flushed(mm, gfn, swapped);
	return true;
}
