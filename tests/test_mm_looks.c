/* SPDX-License-Identifier: MIT */
/*
 * Each second look of memsvc/sync.c is needed. A copy of that file is run in which another pCPU
 * comes in between the steps (SYNC_POINT), and one kind of look can be left out. With all looks
 * everything is as the oracle says; with the one look left out the same checks must fail: then the
 * test ends with exit code BROKEN, which is what it is expected to do. A storm in which others come
 * in between often must pass as well.
 */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BROKEN 42

enum look { LOOK_none, LOOK_word, LOOK_pt, LOOK_guest, LOOK_live };
static enum look left_out;
static void (*come_between)(void); /* NULL: just yield now and then */
static unsigned at_point, points;

static _Noreturn void broken(const char *what, int line)
{
	printf("# look %d left out: line %d: %s\n", (int)left_out, line, what);
	fflush(stdout);
	_exit(left_out ? BROKEN : 1);
}

static inline void sync_point(void)
{
	static _Thread_local unsigned n;

	if (!come_between) {
		if (++n % 7 == 0)
			sched_yield();
		return;
	}
	if (points++ == at_point) {
		void (*fn)(void) = come_between;

		come_between = NULL;
		fn();
	}
}

#define SYNC_CHANGED(what, then, now) (LOOK_##what != left_out && (then) != (now))
#define SYNC_POINT() sync_point()
#include "../memsvc/sync.c"

#undef cr_assert
#undef cr_assert_eq
#undef cr_assert_neq
#undef cr_assert_lt
#undef cr_assert_leq
#define cr_assert(c, ...) ((c) ? (void)0 : broken(#c, __LINE__))
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b))
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b))
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b))
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b))
#include "mm_storm.h"

/* Two pCPUs played by one thread; the tree 1-3-5-7 is live, 8 is a pinned L1 and 6 a pinned L2. */
static void begin(void)
{
	machine_memory();
	host_sim_init(2);
	domain_make(T_NAMES, 2);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	arch_context_switch(NULL, dom->vcpu[0]);
	/* Works on the mm without having it loaded: one thread can't wait for its own flush. */
	pcpu_get(1)->current = dom->vcpu[1];
	guest_page(1)[0] = entry(3, P_TABLE);
	guest_page(3)[0] = entry(5, P_TABLE);
	guest_page(5)[0] = entry(7, P_TABLE);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t g = (uint64_t[]){1, 8, 6}[i];

		t_pin_level[g] = (unsigned[]){4, 1, 2}[i];
		cr_assert_eq(pin_all(g, t_pin_level[g]), 0);
		t_pins[g] = 1;
	}
	check_all();
}

static void finish_all(void)
{
	for (unsigned i = 0; i < 2; i++) {
		host_become(i);
		reap_all();
		arch_context_switch(this_pcpu()->current, NULL);
		between();
	}
	host_become(0);
	check_all();
	domain_done();
}

static long write_entry(uint64_t table, unsigned i, uint64_t val)
{
	struct mmu_update u = {table << 12 | i << 3, val};

	return hc4(do_mmu_update, (uint64_t)&u, 1, 0, DOMID_SELF);
}

/* Write while @fn comes in between on pCPU 1, at the first or second point of the sync. */
static void write_while(void (*fn)(void), unsigned point, uint64_t table, unsigned i, uint64_t val)
{
	come_between = fn;
	at_point = point;
	points = 0;
	cr_assert_eq(write_entry(table, i, val), 0);
	cr_assert(!come_between, "nobody came between");
}

/* A flush by pCPU 1 would wait for pCPU 0, which this very thread is in the middle of. */
static void play_other(void)
{
	atomic_store(&this_pcpu()->tlb.loaded, NULL);
	host_become(1);
}

static void play_first(void)
{
	host_become(0);
	atomic_store(&this_pcpu()->tlb.loaded, mm);
}

static void give_up_300(void)
{
	play_other();
	cr_assert_eq(mm_decrease(mm, GFN(300)), 0);
	play_first();
}

static void pin_20(void)
{
	play_other();
	cr_assert_eq(pin_all(20, 1), 0);
	t_pins[20] = 1;
	t_pin_level[20] = 1;
	play_first();
}

static void write_same(void)
{
	play_other();
	cr_assert_eq(write_entry(7, 30, entry(21, P_RW_AD)), 0);
	play_first();
}

static void write_same_l2(void)
{
	play_other();
	cr_assert_eq(write_entry(5, 3, entry(9, P_TABLE)), 0);
	play_first();
}

static void unpin_8(void)
{
	play_other();
	cr_assert_eq(mm_unpin(mm, GFN(8)), 0);
	reap_all();
	t_pins[8] = 0;
	play_first();
}

static void unpin_6(void)
{
	play_other();
	cr_assert_eq(mm_unpin(mm, GFN(6)), 0);
	reap_all();
	t_pins[6] = 0;
	play_first();
}

static void scenario_word(unsigned point)
{
	uint32_t flushes;

	begin();
	flushes = pcpu_get(0)->tlb.epoch;
	write_while(give_up_300, point, 7, 40, entry(300, P_RW_AD));
	cr_assert_eq(hw_entries(pt_of(rec_of(7)))[40], 0);
	/* The stale entry was there for a moment, perhaps after the decrease's own flush. */
	cr_assert_neq(pcpu_get(0)->tlb.epoch, flushes);
	finish_all();
}

static void scenario_pt(unsigned point)
{
	begin();
	write_while(pin_20, point, 7, 41, entry(20, P_RW_AD));
	finish_all();
}

static void scenario_guest(unsigned point)
{
	begin();
	write_while(write_same, point, 7, 30, entry(22, P_RW_AD));
	check_all();
	write_while(write_same_l2, point, 5, 3, entry(10, P_TABLE));
	finish_all();
}

static void scenario_live(unsigned point)
{
	begin();
	write_while(unpin_8, point, 8, 30, entry(22, P_RW_AD));
	check_all();
	write_while(unpin_6, point, 6, 3, entry(10, P_TABLE));
	finish_all();
}

/* Table 8 goes while it is about to become the linear table of its block. */
static void scenario_linear(void)
{
	struct page_info *t;

	begin();
	t = page_of(PT_HW(rec_of(8)->pt));
	write_while(unpin_8, 0, 8, 33, entry(33, P_RW_AD));
	cr_assert_eq(*p2m_linear(mm, 33), 0, "a dead table stays registered");
	cr_assert_eq(hw_entries(t)[33], 0);
	cr_assert(t->hw.late, "not marked for a second grace period");
	finish_all();
}

static void all_scenarios(unsigned point)
{
	scenario_word(point);
	scenario_pt(point);
	scenario_guest(point);
	scenario_live(point);
}

Test(mm_looks, all_looks)
{
	all_scenarios(0);
}

Test(mm_looks, late_linear_table)
{
	scenario_linear();
}

Test(mm_looks, storm_with_delays)
{
	uint64_t seed = seed_from_env();

	for (unsigned i = 0; i < 2; i++) {
		storm(seed + i, 1500);
		storm_teardown();
	}
}

Test(mm_looks, without_p2m_word, .exit_code = BROKEN)
{
	left_out = LOOK_word;
	scenario_word(0);
}

Test(mm_looks, without_table_word, .exit_code = BROKEN)
{
	left_out = LOOK_pt;
	scenario_pt(0);
}

Test(mm_looks, without_guest_entry, .exit_code = BROKEN)
{
	left_out = LOOK_guest;
	scenario_guest(0);
}

Test(mm_looks, without_liveness, .exit_code = BROKEN)
{
	left_out = LOOK_live;
	scenario_live(0);
}
