/* SPDX-License-Identifier: MIT */
/* The states of a name, move by move, on one pCPU: what may follow what, and what it counts. */
#include "mm_test.h"

#include "memsvc/name.h"
#include "memsvc/share_table.h"

#define TABLE 4 /* L1 of the tests; entry i maps name FIRST + i */
#define FIRST 20

static void setup(void)
{
	machine_memory();
	host_sim_init(2);
	cr_assert_eq(share_table_init(frames_total()), 0);
	domain_make(T_NAMES, 1);
	mm_promise_all(mm);
	arch_context_switch(NULL, dom->vcpu[0]);
}

static void teardown(void)
{
	arch_context_switch(dom->vcpu[0], NULL);
	domain_done();
	cr_assert_eq(share_frames(), 0);
}

static uint64_t *write_page(uint64_t gfn)
{
	mfn_t m = mm_gfn_get_writable(mm, GFN(gfn));

	cr_assert(mfn_valid_value(m));
	return arch_mfn_to_virt(m);
}

static void fill(uint64_t gfn, uint64_t v)
{
	uint64_t *p = write_page(gfn);

	for (unsigned i = 0; i < 512; i++)
		p[i] = v;
}

static uint64_t first_word(uint64_t gfn)
{
	return *(uint64_t *)arch_mfn_to_virt(mm_gfn_to_mfn(mm, GFN(gfn)));
}

static enum name_state state(uint64_t gfn)
{
	struct name_view v;

	name_look(mm, GFN(gfn), &v);
	return v.state;
}

/* As the scanner does it. */
static uint64_t guard(uint64_t gfn)
{
	uint64_t word = name_guard(mm, GFN(gfn));

	if (!word)
		return 0;
	tlb_shootdown_mm(mm);
	host_sim_rcu_drain();
	cr_assert(name_settle(mm, GFN(gfn), word));
	return word;
}

static void counts(int64_t data, int64_t touched, int64_t sharing, int64_t zero)
{
	cr_assert_eq(mm_sum(mm, MMK_DATA), data, "data %lld", (long long)mm_sum(mm, MMK_DATA));
	cr_assert_eq(mm_sum(mm, MMN_TOUCHED), touched);
	cr_assert_eq(mm_sum(mm, MMN_SHARING), sharing);
	cr_assert_eq(mm_sum(mm, MMN_ZERO), zero);
}

static mfn_t share_pair(uint64_t a, uint64_t b)
{
	mfn_t f = mm_gfn_to_mfn(mm, GFN(a));
	uint64_t wa = guard(a), wb = guard(b);

	cr_assert(wa && wb);
	cr_assert(name_promote(mm, GFN(a), wa));
	cr_assert(share_get(f));
	cr_assert(name_share(mm, GFN(b), wb, f));
	return f;
}

Test(name, first_touch)
{
	setup();
	cr_assert_eq(state(7), NAME_VOID);
	cr_assert_null(p2m_rec(mm, 7), "a record before it is needed");
	cr_assert(mm_gfn_exists(mm, GFN(7)));
	cr_assert_not(mm_gfn_exists(mm, GFN(T_NAMES)));
	counts(0, 0, 0, 0);
	cr_assert_eq(name_touch(mm, 7, false, true), 0);
	cr_assert_eq(mm_gfn_to_mfn(mm, GFN(7)).v, share_zero_frame().v);
	counts(0, 0, 0, 0); /* read, but never had anything in it: no saving of sharing's */
	cr_assert_eq(name_touch(mm, 7, true, true), 0);
	cr_assert_eq(state(7), NAME_PRIVATE);
	cr_assert_neq(mm_gfn_to_mfn(mm, GFN(7)).v, share_zero_frame().v);
	cr_assert_eq(first_word(7), 0);
	counts(1, 1, 0, 0);
	cr_assert_eq(share_breaks(), 0);
	cr_assert_eq(name_touch(mm, T_NAMES, true, true), -XEN_EINVAL);
	teardown();
}

Test(name, guard_until_the_first_write)
{
	uint64_t word;
	mfn_t m;

	setup();
	cr_assert_eq(name_guard(mm, GFN(9)), 0, "there is nothing");
	fill(9, 99);
	m = mm_gfn_to_mfn(mm, GFN(9));
	word = name_guard(mm, GFN(9));
	cr_assert_neq(word, 0);
	cr_assert_not(name_share_zero(mm, GFN(9), word), "not settled");
	cr_assert_not(name_promote(mm, GFN(9), word), "not settled");
	cr_assert_eq(name_guard(mm, GFN(9)), 0, "guarded already");
	tlb_shootdown_mm(mm);
	host_sim_rcu_drain();
	cr_assert(name_settle(mm, GFN(9), word));
	cr_assert_eq(name_settled_word(mm, GFN(9)), word);
	{
		struct mm *of;
		uint64_t w;
		gfn_t g;

		cr_assert(name_of_frame(m, &of, &g, &w));
		cr_assert(of == mm && g.v == 9 && w == word);
		fill(9, 100);
		cr_assert_not(name_of_frame(m, &of, &g, &w));
		/* Guarded anew, but not settled: no hint yet. */
		cr_assert_neq(name_guard(mm, GFN(9)), 0);
		cr_assert_not(name_of_frame(m, &of, &g, &w));
	}
	cr_assert_not(name_share_zero(mm, GFN(9), word), "written since");
	cr_assert_not(name_settle(mm, GFN(9), word));
	cr_assert_eq(mm_gfn_to_mfn(mm, GFN(9)).v, m.v, "a guard costs no copy");
	cr_assert_eq(first_word(9), 100);
	teardown();
}

Test(name, share_and_break)
{
	mfn_t f;

	setup();
	for (uint64_t g = 30; g < 33; g++)
		fill(g, 5);
	f = share_pair(30, 31);
	cr_assert_eq(share_frames(), 1);
	counts(1, 3, 2, 0);
	cr_assert_eq(mm_gfn_to_mfn(mm, GFN(31)).v, f.v);
	cr_assert_eq(share_refs(f), 2);
	/* A third by the reference count alone. */
	{
		uint64_t w = guard(32);

		cr_assert(share_get(f));
		cr_assert(name_share(mm, GFN(32), w, f));
	}
	counts(0, 3, 3, 0);
	fill(31, 6);
	cr_assert_eq(state(31), NAME_PRIVATE);
	cr_assert_eq(first_word(30), 5);
	cr_assert_eq(first_word(31), 6);
	cr_assert_eq(first_word(32), 5);
	cr_assert_eq(share_breaks(), 1);
	counts(1, 3, 2, 0);
	fill(30, 7);
	fill(32, 8);
	counts(3, 3, 0, 0);
	cr_assert_eq(share_frames(), 0);
	cr_assert_not(share_get(f), "a frame on its way out");
	host_sim_rcu_drain();
	cr_assert_eq(page_type(page_of(f)), PG_FREE);
	teardown();
}

static void brought(int64_t names, uint64_t which)
{
	struct name_view v;

	cr_assert_eq(mm_sum(mm, MMN_BROUGHT), names);
	if (!names)
		return;
	name_look(mm, GFN(which), &v);
	cr_assert(v.brought);
}

/* A shared frame costs the name that brought it, and when that has left, nobody. */
Test(name, who_brought_it)
{
	mfn_t f;

	setup();
	for (uint64_t g = 30; g < 33; g++)
		fill(g, 5);
	brought(0, 0);
	f = share_pair(30, 31);
	brought(1, 30);
	cr_assert(share_get(f)); /* of no name: given back without one */
	share_put(f, NULL);
	brought(1, 30);
	fill(31, 6);
	brought(1, 30);
	cr_assert_eq(share_refs(f), 1);
	/* Again, and now he leaves. */
	fill(31, 5);
	{
		uint64_t w = guard(31);

		cr_assert(share_get(f));
		cr_assert(name_share(mm, GFN(31), w, f));
	}
	brought(1, 30);
	fill(30, 7);
	brought(0, 0);
	cr_assert_eq(share_frames(), 1);
	/* He comes back as one who shares. */
	fill(30, 5);
	{
		uint64_t w = guard(30);

		cr_assert(share_get(f));
		cr_assert(name_share(mm, GFN(30), w, f));
	}
	brought(0, 0);
	counts(1, 3, 2, 0);
	cr_assert_eq(mm_decrease(mm, GFN(30)), 0);
	cr_assert_eq(mm_decrease(mm, GFN(31)), 0);
	cr_assert_eq(share_frames(), 0);
	brought(0, 0);
	cr_assert_eq(mm_sum(mm, MMC_BROKEN), 2);
	cr_assert_eq(share_breaks(), 2);
	/* Given up, as broken. */
	fill(33, 5);
	share_pair(32, 33);
	brought(1, 32);
	cr_assert_eq(mm_decrease(mm, GFN(32)), 0);
	brought(0, 0);
	teardown();
}

Test(name, zero_again)
{
	uint64_t w;

	setup();
	fill(40, 0);
	w = guard(40);
	cr_assert(name_share_zero(mm, GFN(40), w));
	counts(0, 1, 1, 1);
	cr_assert_eq(mm_gfn_to_mfn(mm, GFN(40)).v, share_zero_frame().v);
	fill(40, 1);
	counts(1, 1, 0, 0);
	cr_assert_eq(*(uint64_t *)arch_mfn_to_virt(share_zero_frame()), 0);
	cr_assert_eq(share_breaks(), 1);
	teardown();
}

Test(name, given_up_and_promised_again)
{
	mfn_t f;

	setup();
	fill(50, 3);
	fill(51, 3);
	f = share_pair(50, 51);
	cr_assert_eq(mm_decrease(mm, GFN(50)), 0);
	cr_assert_eq(state(50), NAME_GONE);
	cr_assert_not(mm_gfn_exists(mm, GFN(50)));
	cr_assert_eq(share_refs(f), 1);
	cr_assert_eq(mm_decrease(mm, GFN(50)), -XEN_EINVAL);
	cr_assert_eq(name_touch(mm, 50, false, true), -XEN_EINVAL);
	cr_assert_eq(mm_decrease(mm, GFN(51)), 0);
	cr_assert_eq(mm_decrease(mm, GFN(52)), 0, "never touched");
	cr_assert_eq(mm_sum(mm, MMN_GONE), 3);
	counts(0, 0, 0, 0);
	cr_assert_eq(share_frames(), 0);
	cr_assert_eq(mm_promise(mm, GFN(50)), 0);
	cr_assert_eq(mm_promise(mm, GFN(50)), -XEN_EINVAL);
	cr_assert_eq(mm_promise(mm, GFN(60)), -XEN_EINVAL);
	cr_assert_eq(first_word(50), 0);
	fill(50, 1);
	teardown();
}

/* What must keep its frame is left alone. */
Test(name, not_to_be_guarded)
{
	uint64_t w;

	setup();
	fill(60, 1);
	w = guard(60);
	cr_assert(mfn_valid_value(mm_gfn_pin_special(mm, GFN(60))));
	cr_assert_not(name_is(mm, GFN(60), w));
	cr_assert_eq(name_guard(mm, GFN(60)), 0, "pinned");
	cr_assert_not(name_sample(mm, GFN(60)));
	/* A page table: also when it is guarded, or zero, at the moment it becomes one. */
	fill(61, 0);
	w = guard(61);
	cr_assert(name_share_zero(mm, GFN(61), w));
	cr_assert_eq(pin_all(61, 1), 0);
	cr_assert_eq(state(61), NAME_PRIVATE);
	cr_assert_eq(name_guard(mm, GFN(61)), 0, "a page table");
	cr_assert_not(mfn_valid_value(mm_gfn_get_writable(mm, GFN(61))));
	cr_assert_eq(mm_unpin(mm, GFN(61)), 0);
	reap_all();
	cr_assert_neq(guard(61), 0);
	teardown();
}

Test(name, sampled)
{
	setup();
	cr_assert_not(name_sample(mm, GFN(70)), "nothing there");
	fill(70, 1);
	fill(71, 1);
	cr_assert(name_sample(mm, GFN(70)));
	cr_assert(name_sample(mm, GFN(71)));
	cr_assert_eq(name_guard(mm, GFN(70)), 0);
	cr_assert_eq(name_touch(mm, 71, false, true), 0);
	cr_assert_not(name_sample_end(mm, GFN(70)), "not accessed");
	cr_assert(name_sample_end(mm, GFN(71)), "accessed");
	cr_assert_eq(first_word(70), 1);
	teardown();
}

/* Entries of an L1 for private, guarded, shared and zero frames; each recorded under its own name. */
Test(name, entries)
{
	_Atomic uint64_t *gt;
	struct page_info *pi;
	struct mm_ctx c;
	mfn_t f;

	setup();
	gt = (_Atomic uint64_t *)write_page(TABLE);
	for (unsigned i = 0; i < 12; i++) {
		gt[i] = entry(FIRST + i, P_RW_AD);
		if (i != 5)
			fill(FIRST + i, i / 2);
	}
	gt[12] = entry(FIRST, P_RW_AD); /* an alias */
	cr_assert_eq(pin_all(TABLE, 1), 0);
	pi = pt_of(p2m_rec(mm, TABLE));
	cr_assert_eq(hw_entries(pi)[5], 0, "never touched: absent");
	cr_assert(hw_entries(pi)[12] & PTE_RW);
	f = share_pair(FIRST, FIRST + 1);
	for (unsigned i = 0; i < 13; i++) {
		c = ctx_begin(mm);
		cr_assert_eq(sync_leaf(&c, pi, i), 0);
		ctx_end(&c);
	}
	cr_assert_eq(hw_entries(pi)[1], 0, "merged: absent until it is read");
	cr_assert_eq(name_touch(mm, FIRST + 1, false, true), 0);
	c = ctx_begin(mm);
	cr_assert_eq(sync_leaf(&c, pi, 1), 0);
	ctx_end(&c);
	cr_assert_eq(pte_frame(hw_entries(pi)[0]), f.v);
	cr_assert_eq(pte_frame(hw_entries(pi)[1]), f.v);
	cr_assert_eq(pte_frame(hw_entries(pi)[12]), f.v);
	for (unsigned i = 0; i < 13; i += i ? 11 : 1)
		cr_assert_not(hw_entries(pi)[i] & PTE_RW);
	cr_assert(hw_entries(pi)[1] & HW_SHARED);
	/* Another name of the same frame in the same entry is another mapping. */
	c = ctx_begin(mm);
	cr_assert_eq(pt_write(&c, pi, 1, entry(FIRST, P_RW_AD), 0, NULL), 0);
	ctx_end(&c);
	cr_assert_eq(pte_frame(hw_entries(pi)[1]), f.v);
	cr_assert_eq(rmap_claimed(rmap_loc(mfn_of(pi), 1)), p2m_rec(mm, FIRST));
	/* The write reaches all aliases of its name, and no other name. */
	fill(FIRST, 77);
	cr_assert_eq(hw_entries(pi)[0], 0);
	cr_assert_eq(hw_entries(pi)[1], 0);
	cr_assert_eq(hw_entries(pi)[12], 0);
	cr_assert_eq(first_word(FIRST + 1), 0);
	for (unsigned i = 0; i < 13; i++) {
		c = ctx_begin(mm);
		cr_assert_eq(sync_leaf(&c, pi, i), 0);
		ctx_end(&c);
	}
	cr_assert_eq(hw_entries(pi)[12] & (PTE_RW | PTE_P), PTE_RW | PTE_P);
	cr_assert_eq(mm_unpin(mm, GFN(TABLE)), 0);
	reap_all();
	for (uint64_t g = FIRST; g < FIRST + 12; g++) {
		uint64_t loc[64];
		struct gfn_rec *rec = p2m_rec(mm, g);

		cr_assert_eq(rec ? slots_of(rec, loc, 64) : 0, 0, "a slot is left");
	}
	teardown();
}

/* A domain that ends with names in every state gives everything back; a frame it shared stays. */
Test(name, end_in_every_state)
{
	setup();
	for (uint64_t g = 80; g < 90; g++)
		fill(g, g / 2);
	share_pair(80, 81);
	guard(82);
	name_guard(mm, GFN(83));
	name_sample(mm, GFN(84));
	mm_decrease(mm, GFN(85));
	fill(86, 0);
	cr_assert(name_share_zero(mm, GFN(86), guard(86)));
	name_touch(mm, 90, false, true);
	teardown();
}
