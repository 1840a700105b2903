/* SPDX-License-Identifier: MIT */
/* Compressed store, one thread: contents, counters, exhaustion, damage, reuse, granules. */
#include "tests/swap_store.h"

static void setup(unsigned pcpus, uint64_t limit)
{
	memory();
	host_sim_init(pcpus);
	store_init(pcpus, limit);
}

/* ---- contents -------------------------------------------------------------------------------- */

static uint64_t page[512], back[512];

static uint32_t store(enum kind kind, uint64_t seed)
{
	uint32_t slot = 0;

	make_page(page, kind, seed);
	cr_assert_eq(dev->store(dev, page, &slot), 0);
	cr_assert_neq(slot, 0);
	return slot;
}

static void expect(uint32_t slot, enum kind kind, uint64_t seed)
{
	memset(back, 0xee, sizeof(back));
	cr_assert_eq(swap_load(slot, back), 0);
	make_page(page, kind, seed);
	cr_assert_eq(memcmp(page, back, PAGE_SIZE), 0, "slot %u: another content", slot);
}

Test(swap, contents_and_counters)
{
	enum { N = 500 };
	static uint32_t slot[KINDS][N];
	struct swap_stats st;

	setup(1, FRAMES);
	for (unsigned i = 0; i < N; i++)
		for (unsigned k = 0; k < KINDS; k++)
			slot[k][i] = store(k, i + 1);
	st = stats();
	cr_assert_eq(st.slots, KINDS * N);
	cr_assert_eq(st.slots_same, 2 * N);
	cr_assert_eq(st.stores, KINDS * N);
	/* Nothing is rounded up by more than a granule, and one frame is being filled. */
	cr_assert_leq(st.frames * PAGE_SIZE,
		      st.bytes + (KINDS - 2) * N * 80ULL + st.frames * 64 + PAGE_SIZE);
	cr_assert_geq(st.frames * PAGE_SIZE, st.bytes);
	cr_assert_eq(frames_free_count(), free_at_start - st.frames - st.table_frames);
	for (unsigned i = 0; i < N; i++)
		for (unsigned k = 0; k < KINDS; k++)
			expect(slot[k][i], k, i + 1);
	cr_assert_eq(stats().loads, KINDS * N);
	for (unsigned i = 0; i < N; i++)
		for (unsigned k = 0; k < KINDS; k++)
			swap_free(slot[k][i]);
	cr_assert_eq(stats().slots, 0);
	cr_assert_eq(stats().waiting, KINDS * N);
	host_sim_rcu_drain();
	check_empty(1);
	/* The numbers come again: no table grows. */
	for (unsigned i = 0; i < N; i++)
		for (unsigned k = 0; k < KINDS; k++)
			slot[k][i] = store(k, i + 7);
	cr_assert_eq(stats().table_frames, st.table_frames);
}

Test(swap, what_does_not_get_smaller_is_refused)
{
	uint32_t slot;

	setup(1, FRAMES);
	for (unsigned i = 1; i < 50; i++) {
		make_page(page, RANDOM, i);
		cr_assert_eq(dev->store(dev, page, &slot), -XEN_E2BIG);
	}
	cr_assert_eq(stats().refused, 49);
	cr_assert_eq(frames_free_count(), free_at_start);
	/* Just below and above the limit. */
	for (unsigned zeros = 100; zeros < 180; zeros++) {
		int rc;

		make_page(page, RANDOM, zeros);
		memset(page, 0, zeros * 8);
		rc = dev->store(dev, page, &slot);
		if (zeros < 120)
			cr_assert_eq(rc, -XEN_E2BIG);
		if (zeros > 135)
			cr_assert_eq(rc, 0);
		if (!rc) {
			cr_assert_eq(swap_load(slot, back), 0);
			cr_assert_eq(memcmp(page, back, PAGE_SIZE), 0);
			swap_free(slot);
		}
	}
	host_sim_rcu_drain();
	check_empty(1);
}

/* ---- exhaustion ------------------------------------------------------------------------------ */

static unsigned fill_up(uint32_t *slot, unsigned max, uint64_t seed)
{
	for (unsigned n = 0; n < max; n++) {
		make_page(page, TEXT, seed + n);
		int rc = dev->store(dev, page, &slot[n]);

		if (rc) {
			cr_assert_eq(rc, -XEN_ENOMEM);
			return n;
		}
	}
	cr_assert(false, "never full");
	return 0;
}

Test(swap, limit_holds)
{
	static uint32_t slot[5000];
	unsigned n, again;

	setup(1, 20);
	n = fill_up(slot, 5000, 100);
	cr_assert_gt(n, 30);
	cr_assert_eq(stats().frames, 20);
	cr_assert_eq(stats().slots, n);
	cr_assert_eq(stats().no_room, 1);
	for (unsigned i = 0; i < n; i++)
		expect(slot[i], TEXT, 100 + i);
	/* A page of one word needs no frame. */
	swap_free(store(SAME, 5));
	for (unsigned i = 0; i < n; i++)
		swap_free(slot[i]);
	host_sim_rcu_drain();
	check_empty(1);
	again = fill_up(slot, 5000, 100);
	cr_assert_eq(again, n);
	/* More room on request. */
	swap_set_limit(21);
	make_page(page, TEXT, 3);
	cr_assert_eq(dev->store(dev, page, &slot[n]), 0);
}

Test(swap, no_memory_left)
{
	static uint32_t slot[50000];
	static mfn_t hog[FRAMES];
	unsigned n, hogs = 0;
	uint64_t left;

	setup(1, FRAMES);
	while (hogs < FRAMES && mfn_valid_value(hog[hogs] = page_alloc(0)))
		hogs++;
	cr_assert_eq(dev->store(dev, page, &slot[0]), -XEN_ENOMEM);
	make_page(page, TEXT, 1);
	cr_assert_eq(dev->store(dev, page, &slot[0]), -XEN_ENOMEM);
	for (unsigned i = 0; i < 40; i++)
		page_free(hog[--hogs]);
	n = fill_up(slot, 50000, 9);
	for (unsigned i = 0; i < n; i++)
		expect(slot[i], TEXT, 9 + i);
	cr_assert_eq(frames_free_count(), 0);
	left = stats().frames + stats().table_frames;
	cr_assert_eq(left, 40);
	for (unsigned i = 0; i < n; i++)
		swap_free(slot[i]);
	while (hogs)
		page_free(hog[--hogs]);
	host_sim_rcu_drain();
	check_empty(1);
}

/* ---- damage ---------------------------------------------------------------------------------- */

Test(swap, damage_is_an_error)
{
	uint32_t a, b, c;
	struct swap_slot *s;
	uint8_t *stored;
	uint64_t damaged = 0;

	setup(1, FRAMES);
	a = store(TEXT, 1);
	b = store(STRUCTS, 2);
	c = store(SAME, 3);
	s = swap_slot_rec(a);
	stored = (uint8_t *)swap_space_get(s->val & ((1ULL << 48) - 1), back,
					   (unsigned)(s->val >> 48));
	/* Every bit of the stored bytes that changes the page. */
	for (unsigned i = 0; i < (unsigned)(s->val >> 48); i++) {
		stored[i] ^= 1u << (i & 7);
		if (swap_load(a, back)) {
			damaged++;
		} else { /* the decoder may not care, but then the page is right */
			make_page(page, TEXT, 1);
			cr_assert_eq(memcmp(page, back, PAGE_SIZE), 0);
		}
		stored[i] ^= 1u << (i & 7);
	}
	cr_assert_gt(damaged, (unsigned)(s->val >> 48) / 2);
	cr_assert_eq(stats().damaged, damaged);
	expect(a, TEXT, 1);
	/* The content of one slot under the number of another. */
	s->val = swap_slot_rec(b)->val;
	s->check = swap_slot_rec(b)->check;
	cr_assert_eq(swap_load(a, back), -XEN_EIO);
	expect(b, STRUCTS, 2);
	/* The word of a page full of it. */
	swap_slot_rec(c)->val ^= 1ULL << 40;
	cr_assert_eq(swap_load(c, back), -XEN_EIO);
	swap_slot_rec(c)->val ^= 1ULL << 40;
	expect(c, SAME, 3);
	/* Chains that lead nowhere. */
	uint64_t was = swap_slot_rec(b)->val;

	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t m = (was ^ 1ULL << bit) >> 12 & ((1ULL << 36) - 1);

		if (m >= frames_max_mfn() || m < HOST_FIRST_MFN) {
			swap_slot_rec(b)->val = was ^ 1ULL << bit;
			if (m >= frames_max_mfn())
				cr_assert_eq(swap_load(b, back), -XEN_EIO);
			swap_slot_rec(b)->val = was;
		}
	}
	expect(b, STRUCTS, 2);
	/* Numbers never given out, and one freed twice. */
	cr_assert_eq(swap_load(0, back), -XEN_EIO);
	cr_assert_eq(swap_load(200, back), -XEN_EIO);
	cr_assert_eq(swap_load(100000, back), -XEN_EIO);
	cr_assert_eq(swap_load(UINT32_MAX, back), -XEN_EIO);
	cr_assert(!dev->free(dev, 0));
	cr_assert(!dev->free(dev, 200));
	cr_assert(!dev->free(dev, UINT32_MAX));
	cr_assert(dev->free(dev, c));
	cr_assert(!dev->free(dev, c));
	host_sim_rcu_drain();
	cr_assert(!dev->free(dev, c));
	cr_assert_eq(swap_load(c, back), -XEN_EIO);
}

/* ---- reuse ----------------------------------------------------------------------------------- */

/* Whether slot @slot still holds TEXT page 1 after pCPU 0 freed it and did its best to reuse it. */
static bool survives(bool reader_quiescent)
{
	uint32_t slot;

	setup(2, FRAMES);
	slot = store(TEXT, 1); /* pCPU 1 has read its number and is about to load it */
	swap_free(slot);
	for (unsigned i = 0; i < 20; i++) {
		host_service();
		if (reader_quiescent) {
			host_become(1);
			rcu_quiescent_state();
			host_become(0);
		}
		host_clock_advance(NS_PER_MS);
	}
	for (unsigned i = 0; i < 20; i++)
		(void)store(TEXT, 10 + i);
	host_become(1);
	if (swap_load(slot, back))
		return false;
	make_page(page, TEXT, 1);
	return !memcmp(page, back, PAGE_SIZE);
}

Test(swap, content_stays_for_a_reader)
{
	cr_assert(survives(false));
	cr_assert(!survives(true), "nothing was reused: the test shows nothing");
}

Test(swap, frames_come_back)
{
	enum { N = 4000 };
	static uint32_t slot[N];
	uint64_t s = seed_from_env() | 1, full;

	setup(2, FRAMES);
	for (unsigned i = 0; i < N; i++)
		slot[i] = store(i & 1 ? TEXT : MIXED, i);
	full = stats().frames;
	/* Three of four, at random; what is left may be scattered, but new pages fill the holes. */
	for (unsigned i = 0; i < N; i++) {
		host_become(i & 1);
		if (seed_to(&s, 4)) {
			swap_free(slot[i]);
			slot[i] = 0;
		}
	}
	host_become(0);
	host_sim_rcu_drain();
	for (unsigned i = 0; i < N; i++)
		if (!slot[i])
			slot[i] = store(i & 1 ? TEXT : MIXED, i);
	cr_assert_leq(stats().frames, full + full / 8, "%llu frames instead of %llu",
		      (unsigned long long)stats().frames, (unsigned long long)full);
	for (unsigned i = 0; i < N; i++) {
		expect(slot[i], i & 1 ? TEXT : MIXED, i);
		swap_free(slot[i]);
	}
	host_sim_rcu_drain();
	check_empty(2);
}

/* ---- granules against a model ---------------------------------------------------------------- */

Test(swap, granules_of_any_length)
{
	enum { N = 300 };
	static struct {
		uint64_t word;
		unsigned len;
		uint8_t data[SWAP_OBJECT_MAX];
	} obj[N];
	static struct swap_space_pcpu sp[2];
	uint8_t buf[SWAP_OBJECT_MAX];
	uint64_t s = seed_from_env() | 1;
	unsigned live = 0, refused = 0;

	setup(2, 30);
	for (unsigned step = 0; step < 60000; step++) {
		unsigned i = seed_to(&s, N), cpu = seed_to(&s, 2);

		host_become(cpu);
		if (!obj[i].word) {
			obj[i].len = 1 + seed_to(&s, seed_to(&s, 4) ? 600 : SWAP_OBJECT_MAX);
			for (unsigned j = 0; j < obj[i].len; j++)
				obj[i].data[j] = (uint8_t)seed_next(&s);
			obj[i].word = swap_space_put(&sp[cpu], obj[i].data, obj[i].len);
			live += obj[i].word != 0;
			refused += obj[i].word == 0;
		} else {
			const void *p = swap_space_get(obj[i].word, buf, obj[i].len);

			cr_assert_not_null(p);
			cr_assert_eq(memcmp(p, obj[i].data, obj[i].len), 0);
			if (seed_to(&s, 3))
				continue;
			cr_assert(swap_space_free(obj[i].word, obj[i].len));
			obj[i].word = 0;
			live--;
		}
		if (!(step % 256))
			host_sim_rcu_drain();
	}
	printf("# %u live, %u refused, %llu frames\n", live, refused,
	       (unsigned long long)swap_space_frames());
	cr_assert_gt(live, 50);
	cr_assert_gt(refused, 0);
	for (unsigned i = 0; i < N; i++)
		if (obj[i].word)
			cr_assert(swap_space_free(obj[i].word, obj[i].len));
	host_sim_rcu_drain();
	cr_assert_leq(swap_space_frames(), 2);
	cr_assert_eq(frames_free_count(), free_at_start - swap_space_frames());
}
