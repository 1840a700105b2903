/* SPDX-License-Identifier: MIT */
/*
 * The sharing table and the reading of pages. The storm has an oracle: each frame's owner knows
 * whether it is entered as shared; while it is, every reader must find it, always. A copy of the
 * table whose CAS is a plain store must fail the same storm.
 */
#include "memsvc/share_table.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/host/host.h"
#include "memsvc/frame.h"

/* The broken copy, under names of its own: who changes a word does not see that it was changed meanwhile. */
#define share_table_init broken_init
#define share_table_ready broken_ready
#define share_table_fetch broken_fetch
#define share_look_start broken_look_start
#define share_look_next broken_look_next
#define share_table_insert broken_insert
#define share_table_remove broken_remove
#define share_table_forget broken_forget
#define share_table_entries broken_entries
#define BROKEN_CAS(p, old, new) \
	(sched_yield(), atomic_store_explicit(p, new, memory_order_release), (void)*(old), true)
#pragma push_macro("atomic_compare_exchange_strong_explicit")
#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(p, old, new, s, f) BROKEN_CAS(p, old, new)
#include "memsvc/share_table.c"
#include "tests/seed.h"
#pragma pop_macro("atomic_compare_exchange_strong_explicit")
#undef share_table_init
#undef share_table_ready
#undef share_table_fetch
#undef share_look_start
#undef share_look_next
#undef share_table_insert
#undef share_table_remove
#undef share_table_forget
#undef share_table_entries

#define FRAMES 4096
#define POOL 256 /* frames in play */

static uint64_t first_mfn;

static void machine(void)
{
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, (uint64_t)FRAMES << PAGE_SHIFT};
	mfn_t m;

	host_arena_init(FRAMES);
	host_sim_init(1);
	cr_assert_eq(frames_init(&r, 1), 0);
	m = frames_alloc_contig(POOL);
	cr_assert(mfn_valid_value(m));
	first_mfn = m.v;
	for (unsigned i = 0; i < POOL; i++)
		page_set_type(page_of(MFN(first_mfn + i)), PG_HYP, PG_DOM, 1);
	cr_assert_not(share_table_ready());
}

static mfn_t frame(unsigned i)
{
	return MFN(first_mfn + i);
}

static void hash_set(unsigned i, uint64_t hash)
{
	atomic_store(&page_of(frame(i))->dom.hash, hash);
}

static bool find(uint64_t hash, mfn_t f)
{
	struct share_look l;
	mfn_t x;

	share_look_start(&l, hash);
	while (share_look_next(&l, &x))
		if (x.v == f.v)
			return true;
	return false;
}

/* ---- one thread ---- */

Test(share_table, insert_find_remove)
{
	uint64_t h = 0x123456789abcdef1;

	machine();
	cr_assert_eq(share_table_init(FRAMES), 0);
	cr_expect_not(find(h, frame(0)));
	cr_expect(share_table_insert(h, frame(0), false));
	cr_expect(share_table_insert(h, frame(1), false));
	cr_expect(find(h, frame(0)) && find(h, frame(1)));
	/* Again, and from hint to shared: still one entry each. */
	cr_expect(share_table_insert(h, frame(0), false));
	cr_expect(share_table_insert(h, frame(1), true));
	cr_expect(share_table_insert(h, frame(1), false));
	cr_expect_eq(share_table_entries(false), 1);
	cr_expect_eq(share_table_entries(true), 1);
	share_table_remove(h, frame(2));
	share_table_remove(h ^ 2, frame(0));
	cr_expect(find(h, frame(0)));
	share_table_remove(h, frame(0));
	cr_expect_not(find(h, frame(0)));
	/* Only its last reference's end removes a shared frame. */
	share_table_remove(h, frame(1));
	cr_expect(find(h, frame(1)));
	hash_set(1, h);
	share_table_forget(frame(1));
	cr_expect_eq(share_table_entries(true), 0);
	/* Other contents: another tag or another group. */
	cr_expect(share_table_insert(h, frame(3), false));
	cr_expect_not(find(h ^ 2, frame(3)));
	cr_expect_not(find(h ^ 1ULL << 63, frame(3)));
}

Test(share_table, a_full_group_drops_stale_hints_then_hints_never_shared)
{
	uint64_t base = 0x1111111100000001;

	machine();
	cr_assert_eq(share_table_init(FRAMES), 0);
	for (unsigned i = 0; i < SHARE_WORDS; i++) {
		hash_set(i, base + 2 * i);
		cr_assert(share_table_insert(base + 2 * i, frame(i), i % 2));
	}
	/* Frame 6 has other contents by now: it goes first. */
	hash_set(6, 0x77);
	hash_set(100, base + 200);
	cr_expect(share_table_insert(base + 200, frame(100), false));
	cr_expect_not(find(base + 12, frame(6)));
	cr_expect_eq(share_table_entries(false), SHARE_WORDS / 2);
	/* Then hints in use, one for each. */
	for (unsigned i = 0; i < SHARE_WORDS / 2; i++) {
		hash_set(110 + i, base + 300 + 2 * i);
		cr_expect(share_table_insert(base + 300 + 2 * i, frame(110 + i), true));
	}
	cr_expect_eq(share_table_entries(false), 0);
	cr_expect_not(share_table_insert(base + 400, frame(120), false));
	cr_expect_not(share_table_insert(base + 400, frame(120), true));
	for (unsigned i = 1; i < SHARE_WORDS; i += 2)
		cr_expect(find(base + 2 * i, frame(i)), "shared frame %u was dropped", i);
}

Test(share_table, holds_two_entries_per_frame_spread_evenly)
{
	uint64_t s = seed_from_env() | 1;
	unsigned lost = 0;

	machine();
	cr_assert_eq(share_table_init(FRAMES), 0);
	/* As many shared entries as there are frames: half of it is in use. */
	for (unsigned i = 0; i < FRAMES; i++)
		lost += !share_table_insert(seed_next(&s) | 1, MFN(first_mfn + i), true);
	cr_expect_leq(lost, FRAMES / 50, "%u of %u found no room", lost, FRAMES);
	cr_expect_eq(share_table_entries(true), FRAMES - lost);
}

/* ---- threads ---- */

#define THREADS 4
#define GROUPS 4 /* hashes in use fall on few groups */

struct ops {
	bool (*insert)(uint64_t hash, mfn_t f, bool shared);
	void (*remove)(uint64_t hash, mfn_t f);
	void (*forget)(mfn_t f);
	bool (*find)(uint64_t hash, mfn_t f);
	uint64_t (*entries)(bool shared);
};

static bool broken_find(uint64_t hash, mfn_t f)
{
	struct share_look l;
	mfn_t x;

	broken_look_start(&l, hash);
	while (broken_look_next(&l, &x))
		if (x.v == f.v)
			return true;
	return false;
}

static const struct ops good = {share_table_insert, share_table_remove, share_table_forget, find,
				share_table_entries};
static const struct ops broken = {broken_insert, broken_remove, broken_forget, broken_find,
				  broken_entries};

static struct {
	const struct ops *ops;
	uint64_t seed;
	unsigned rounds;
	_Atomic unsigned current[THREADS]; /* the frame each thread has entered as shared */
	/* Even: not entered; odd: entered as shared, by its owner, until the next change. */
	_Atomic uint64_t epoch[POOL];
	uint64_t hash[POOL];
	_Atomic unsigned missed, entered;
} storm;

/* Thread t owns the frames i with i % THREADS == t: of these, few at once are shared, so that there
 * is always room for them; the others come and go as hints. */
static void *storm_thread(void *arg)
{
	unsigned t = (unsigned)(uintptr_t)arg, shared = UINT32_MAX;
	uint64_t s = storm.seed * (t + 1) | 1;
	const struct ops *ops = storm.ops;

	for (unsigned r = 0; r < storm.rounds; r++) {
		unsigned mine = (unsigned)(seed_next(&s) >> 33) % (POOL / THREADS) * THREADS + t;
		unsigned other = atomic_load(&storm.current[seed_next(&s) >> 40 & (THREADS - 1)]);
		uint64_t e;

		if (r % 8 == 0) {
			if (shared != UINT32_MAX) {
				atomic_fetch_add(&storm.epoch[shared], 1);
				ops->forget(frame(shared));
			}
			shared = mine;
			/* It may have been a hint before. */
			if (ops->insert(storm.hash[shared], frame(shared), true)) {
				atomic_fetch_add(&storm.epoch[shared], 1);
				atomic_fetch_add(&storm.entered, 1);
				atomic_store(&storm.current[t], shared);
			} else {
				shared = UINT32_MAX;
			}
		} else if (mine != shared) {
			if (seed_next(&s) >> 63)
				ops->insert(storm.hash[mine], frame(mine), false);
			else
				ops->remove(storm.hash[mine], frame(mine));
		}
		e = atomic_load(&storm.epoch[other]);
		if (e & 1 && !ops->find(storm.hash[other], frame(other)) &&
		    atomic_load(&storm.epoch[other]) == e)
			atomic_fetch_add(&storm.missed, 1);
	}
	if (shared != UINT32_MAX) {
		atomic_fetch_add(&storm.epoch[shared], 1);
		ops->forget(frame(shared));
	}
	return NULL;
}

/* Shared entries lost, or left over at the end. */
static unsigned run_storm(const struct ops *ops, unsigned rounds)
{
	pthread_t th[THREADS];

	storm.ops = ops;
	storm.rounds = rounds;
	for (unsigned i = 0; i < POOL; i++) {
		storm.hash[i] = (uint64_t)(i / THREADS % GROUPS) << 61 | (uint64_t)i << 5 | 1;
		hash_set(i, storm.hash[i]);
	}
	for (unsigned t = 0; t < THREADS; t++)
		cr_assert_eq(pthread_create(&th[t], NULL, storm_thread, (void *)(uintptr_t)t), 0);
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(th[t], NULL);
	cr_assert_gt(storm.entered, rounds / 16, "hardly any frame was ever shared");
	return storm.missed + (unsigned)ops->entries(true);
}

Test(share_table, storm)
{
	machine();
	cr_assert_eq(share_table_init(FRAMES), 0);
	storm.seed = seed_from_env();
	cr_expect_eq(run_storm(&good, 100000), 0);
}

Test(share_table, storm_catches_a_plain_store)
{
	unsigned wrong = 0;

	machine();
	cr_assert_eq(broken_init(FRAMES), 0);
	storm.seed = seed_from_env();
	for (unsigned i = 0; i < 20 && !wrong; i++)
		wrong = run_storm(&broken, 20000);
	cr_expect_neq(wrong, 0, "lost updates went unnoticed");
}

/* ---- reading pages ---- */

Test(page_hash, a_sketch_depends_on_a_line_of_each_step)
{
	static uint8_t a[PAGE_SIZE] ALIGNED(PAGE_SIZE);
	uint64_t s = seed_from_env() | 1, h;

	page_hash_seed(s);
	cr_expect_eq(page_sketch(a, a), 0);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		a[i] = (uint8_t)(seed_next(&s) >> 40);
	h = page_sketch(a, a);
	cr_expect(h & 1);
	for (unsigned at = 0; at < PAGE_SIZE; at += SKETCH_STEP) {
		unsigned seen = 0;

		for (unsigned i = at; i < at + SKETCH_STEP; i++) {
			a[i] ^= 1;
			seen += page_sketch(a, a) != h;
			a[i] ^= 1;
		}
		cr_expect_eq(seen, CACHE_LINE);
	}
	cr_expect_eq(page_sketch(a, a), h);
	page_hash_seed(s + 1);
	cr_expect_neq(page_sketch(a, a), h);
}

Test(page_hash, depends_on_every_byte_and_on_the_seed)
{
	static uint8_t a[PAGE_SIZE] ALIGNED(PAGE_SIZE), b[PAGE_SIZE] ALIGNED(PAGE_SIZE);
	uint64_t s = seed_from_env() | 1, h;

	page_hash_seed(s);
	cr_expect(page_is_zero(a));
	cr_expect(page_equal(a, b));
	h = page_hash(a);
	cr_expect(h & 1);
	for (unsigned i = 0; i < PAGE_SIZE; i++) {
		b[i] = (uint8_t)(1u << i % 8);
		cr_expect_not(page_is_zero(b));
		cr_expect_not(page_equal(a, b));
		cr_expect_neq(page_hash(b), h);
		b[i] = 0;
	}
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		a[i] = (uint8_t)(seed_next(&s) >> 40);
	memcpy(b, a, PAGE_SIZE);
	cr_expect(page_equal(a, b));
	h = page_hash(a);
	cr_expect_eq(page_hash(b), h);
	cr_expect_eq(page_hash_ahead(b, a), h, "the two ways of hashing differ");
	page_hash_seed(s + 1);
	cr_expect_neq(page_hash(a), h);
}
