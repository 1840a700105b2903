/* SPDX-License-Identifier: MIT */
/* memsvc/swap_slot.h, swap_space.h: numbers pass through the depot, frames between their holders. */
#include <string.h>

#include "memsvc/swap_slot.h"
#include "memsvc/swap_space.h"
#include "stress/litmus/tests/world.h"

/* ---- slots ---- */

#define PER_FRAME 256

static struct swap_slots_pcpu slots[3];
static uint32_t got[3];

/* The first frame of them is used up. */
static void setup_slots(void)
{
	struct swap_slot *s;

	world_memory(3);
	swap_slots_init();
	do
		swap_slot_get(&slots[0], &s);
	while (slots[0].nr_free);
}

static void thread_slots(unsigned me)
{
	struct swap_slot *s;

	if (me != 2) {
		got[me] = swap_slot_get(&slots[me], &s);
		LITMUS_ASSERT(got[me] && s == swap_slot_rec(got[me]));
		swap_slot_set(s, SWAP_SLOT_SAME, 7, 8);
		return;
	}
	/* Whatever number somebody tries. */
	s = swap_slot_rec(PER_FRAME + 1);
	if (s)
		LITMUS_ASSERT(swap_slot_kind(s) <= SWAP_SLOT_SAME);
}

static void check_slots(void)
{
	LITMUS_ASSERT(got[0] != got[1]);
}

LITMUS(slot_records, "swap_slots", "a record that is found has been made", 3, 1, setup_slots,
       thread_slots, check_slots);

/* Not even the table of frames is there. */
static void setup_none(void)
{
	world_memory(3);
	swap_slots_init();
}

LITMUS(slot_tables, "swap_slots_first", "the same for the very first ones", 3, 1, setup_none,
       thread_slots, check_slots);

/* ---- the depot of numbers ---- */

#define FULL 512

static uint32_t last;

static void setup_depot(void)
{
	struct swap_slot *s;
	uint32_t n[FULL];

	world_memory(3);
	swap_slots_init();
	for (unsigned i = 0; i < FULL; i++)
		n[i] = swap_slot_get(&slots[0], &s);
	while (slots[0].nr_free)
		swap_slot_get(&slots[0], &s);
	/* What a record held must not be taken for the next magazine. */
	swap_slot_set(swap_slot_rec(n[FULL - 1]), SWAP_SLOT_SAME, 0, n[FULL - 1]);
	/* One more makes a magazine for the depot. */
	for (unsigned i = 0; i < FULL - 1; i++)
		swap_slot_put(&slots[0], n[i]);
	last = n[FULL - 1];
}

static void thread_depot(unsigned me)
{
	struct swap_slot *s;
	uint32_t second;

	if (me == 0) {
		swap_slot_put(&slots[0], last);
		return;
	}
	got[me] = swap_slot_get(&slots[me], &s);
	LITMUS_ASSERT(got[me] && s == swap_slot_rec(got[me]));
	second = swap_slot_get(&slots[me], &s);
	/* One of those that were given back, or of a frame of its own. */
	LITMUS_ASSERT(second != got[me] && (second > last) == (got[me] > last));
}

static void check_depot(void)
{
	LITMUS_ASSERT(got[1] != got[2]);
}

LITMUS(slot_depot, "swap_depot", "numbers that pass through the depot keep their links", 3, 1,
       setup_depot, thread_depot, check_depot);

/* ---- room ---- */

#define LEN ((31 * SWAP_GRANULE) - 8)

static struct swap_space_pcpu spaces[2];
static uint64_t object[3];

static void setup_space(void)
{
	static char data[LEN];

	world_memory(2);
	if (swap_space_init(100))
		litmus_fail("no swap space");
	memset(data, 1, sizeof(data));
	/* 62 granules of the first frame, the 63rd and a second frame. */
	for (unsigned i = 0; i < 3; i++)
		object[i] = swap_space_put(&spaces[0], data, LEN);
}

static void thread_space(unsigned me)
{
	char buf[64];

	LITMUS_ASSERT(swap_space_get(object[me], buf, 8));
	LITMUS_ASSERT(*(const char *)swap_space_get(object[me], buf, 8) == 1);
	LITMUS_ASSERT(swap_space_free(object[me], LEN));
	if (me)
		LITMUS_ASSERT(swap_space_free(object[2], LEN));
}

static void check_space(void)
{
	host_sim_rcu_drain();
	/* What is empty was freed, except what the pCPU is filling. */
	LITMUS_ASSERT(swap_space_frames() <= 1);
}

LITMUS(space, "swap_space", "no frame that is empty stays behind", 2, 3, setup_space, thread_space,
       check_space);

/* ---- room that is used again ---- */

static void thread_reuse(unsigned me)
{
	char buf[8] = {2};

	if (me == 0) {
		LITMUS_ASSERT(*(const char *)swap_space_get(object[0], buf, 8) == 1);
		LITMUS_ASSERT(swap_space_free(object[0], LEN));
	} else {
		uint64_t word = swap_space_put(&spaces[1], buf, sizeof(buf));

		LITMUS_ASSERT(word);
		LITMUS_ASSERT(*(const char *)swap_space_get(word, buf, sizeof(buf)) == 2);
	}
}

LITMUS(reuse, "swap_reuse", "room is written anew after its last reader", 2, 2, setup_space,
       thread_reuse, NULL);

/* The same in the frame that a pCPU is filling. */
static void thread_held(unsigned me)
{
	static char data[LEN];

	if (me == 0) {
		LITMUS_ASSERT(swap_space_free(object[2], LEN));
		return;
	}
	LITMUS_ASSERT(swap_space_put(&spaces[0], data, LEN));
	LITMUS_ASSERT(swap_space_put(&spaces[0], data, LEN));
}

LITMUS(held, "swap_held", "the same for the frame that a pCPU is filling", 2, 2, setup_space,
       thread_held, NULL);
