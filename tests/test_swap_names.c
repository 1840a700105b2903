/* SPDX-License-Identifier: MIT */
/* Names that go to the swap device and come back; the random pump, alone and beside users. */
#include "mm_test.h"

#include "memsvc/name.h"
#include "memsvc/share_table.h"
#include "memsvc/swap_lz4.h"
#include "memsvc/swap_pump.h"

#define CPUS 3
#define SEED_SHIFT 0x9e3779b97f4a7c15ULL

static uint64_t free_before;

static void machine(unsigned pcpus)
{
	machine_memory();
	host_sim_init(pcpus);
	cr_assert_eq(share_table_init(frames_total()), 0);
	cr_assert_eq(swap_init(), 0);
	free_before = frames_free_count();
	domain_make(T_NAMES, 1);
	mm_promise_all(mm);
}

/* All of the domain's memory comes back, and only the device's tables remain. */
static void machine_done(void)
{
	struct swap_stats st;

	teardown_all();
	host_sim_rcu_drain();
	swap_stats(&st);
	cr_assert_eq(st.slots, 0);
	cr_assert_eq(st.bytes, 0);
	cr_assert_eq(st.waiting, 0);
	cr_assert_leq(st.frames, nr_pcpus());
	cr_assert_eq(frames_free_count(), free_before - st.frames - st.table_frames, "frames lost");
}

static uint64_t swapped_word;

/* Compressible, and tells whose it is. */
static void write_to(mfn_t m, uint64_t stamp)
{
	_Atomic uint64_t *p = arch_mfn_to_virt(m);

	for (unsigned i = 0; i < 512; i++)
		atomic_store_explicit(&p[i], stamp + (i & 15), memory_order_relaxed);
}

static bool has(mfn_t m, uint64_t stamp)
{
	_Atomic uint64_t *p = arch_mfn_to_virt(m);

	for (unsigned i = 0; i < 512; i++)
		if (atomic_load_explicit(&p[i], memory_order_relaxed) != stamp + (i & 15))
			return false;
	return true;
}

static void set(uint64_t gfn, uint64_t stamp)
{
	mfn_t m = mm_gfn_get_writable(mm, GFN(gfn));

	cr_assert(mfn_valid_value(m));
	write_to(m, stamp);
}

static void set_random(uint64_t gfn)
{
	struct rnd r = {gfn * SEED_SHIFT | 1};
	uint64_t *p = arch_mfn_to_virt(mm_gfn_get_writable(mm, GFN(gfn)));

	for (unsigned i = 0; i < 512; i++)
		p[i] = rnd(&r);
}

static bool is(uint64_t gfn, uint64_t stamp)
{
	mfn_t m = mm_gfn_to_mfn(mm, GFN(gfn));

	return mfn_valid_value(m) && has(m, stamp);
}

static enum name_state state(uint64_t gfn)
{
	struct name_view v;

	name_look(mm, GFN(gfn), &v);
	return v.state;
}

static uint64_t settled(uint64_t gfn)
{
	uint64_t word = name_guard(mm, GFN(gfn));

	cr_assert_neq(word, 0);
	tlb_shootdown_mm(mm);
	host_sim_rcu_drain();
	cr_assert(name_settle(mm, GFN(gfn), word));
	return word;
}

static void counts(int64_t data, int64_t swapped)
{
	struct swap_stats st;

	swap_stats(&st);
	cr_assert_eq(mm_sum(mm, MMK_DATA), data);
	cr_assert_eq(mm_sum(mm, MMN_SWAPPED), swapped);
	cr_assert_eq((int64_t)st.slots, swapped);
}

Test(swap_names, out_and_back)
{
	uint64_t word;

	machine(1);
	for (unsigned g = 20; g < 40; g++) {
		set(g, g << 20);
		word = settled(g);
		counts(1, g - 20);
		cr_assert_eq(swap_out(mm, GFN(g), word, &swapped_word), 0);
		counts(0, g - 20 + 1);
		cr_assert_eq(state(g), NAME_SWAPPED);
		cr_assert_eq(swap_out(mm, GFN(g), word, &swapped_word), -XEN_EAGAIN);
	}
	for (unsigned g = 20; g < 30; g++) {
		cr_assert(is(g, g << 20));
		cr_assert_eq(state(g), NAME_PRIVATE);
		counts(g - 20 + 1, 20 - (g - 20 + 1));
	}
	/* The rest is freed with the domain. */
	machine_done();
}

/* Flushes of this pCPU, which has the mm loaded, by one use of name 30 that was swapped out. */
static uint32_t flushes_to_return(bool flushed)
{
	struct pcpu *p = this_pcpu();
	uint32_t before;

	set(30, 1 << 20);
	cr_assert_eq(swap_out(mm, GFN(30), settled(30), &swapped_word), 0);
	cr_assert(name_is(mm, GFN(30), swapped_word));
	if (flushed) {
		tlb_shootdown_mm(mm);
		name_flushed(mm, GFN(30), swapped_word);
		cr_assert_eq(state(30), NAME_SWAPPED);
	}
	before = atomic_load(&p->tlb.epoch);
	set(30, 2 << 20);
	cr_assert(is(30, 2 << 20));
	cr_assert_eq(state(30), NAME_PRIVATE);
	return atomic_load(&p->tlb.epoch) - before;
}

Test(swap_names, comes_back_without_a_flush)
{
	machine(1);
	tlb_note_load(mm);
	cr_assert_eq(flushes_to_return(false), 1);
	cr_assert_eq(flushes_to_return(true), 0);
	/* One that has come back meanwhile is not marked. */
	name_flushed(mm, GFN(30), swapped_word);
	cr_assert(is(30, 2 << 20));
	cr_assert_eq(state(30), NAME_PRIVATE);
	tlb_note_load(NULL);
	machine_done();
}

Test(swap_names, refused_as_they_should_be)
{
	struct swap_stats st;
	uint64_t word;

	machine(1);
	cr_assert_eq(swap_out(mm, GFN(5), 0, &swapped_word), -XEN_EAGAIN);
	set(5, 7 << 20);
	word = name_guard(mm, GFN(5));
	cr_assert_eq(swap_out(mm, GFN(5), word, &swapped_word), -XEN_EAGAIN, "not settled");
	tlb_shootdown_mm(mm);
	host_sim_rcu_drain();
	cr_assert(name_settle(mm, GFN(5), word));
	set(5, 8 << 20);
	cr_assert_eq(swap_out(mm, GFN(5), word, &swapped_word), -XEN_EAGAIN, "written since");
	/* What does not get smaller stays. */
	set_random(6);
	word = settled(6);
	cr_assert_eq(swap_out(mm, GFN(6), word, &swapped_word), -XEN_E2BIG);
	cr_assert_eq(state(6), NAME_PRIVATE);
	cr_assert(name_is(mm, GFN(6), word));
	/* No room. */
	swap_set_limit(0);
	word = settled(5);
	cr_assert_eq(swap_out(mm, GFN(5), word, &swapped_word), -XEN_ENOMEM);
	cr_assert(name_is(mm, GFN(5), word));
	cr_assert(is(5, 8 << 20));
	swap_set_limit(100);
	cr_assert_eq(swap_out(mm, GFN(5), word, &swapped_word), 0);
	swap_stats(&st);
	cr_assert_eq(st.refused, 1);
	cr_assert_eq(st.no_room, 1);
	cr_assert_eq(st.stores, 1);
	machine_done();
}

/* ---- between the steps ----------------------------------------------------------------------- */

static struct swap_device inner, *real;
static void (*in_between)(void);

static void happen(void)
{
	void (*fn)(void) = in_between;

	in_between = NULL;
	if (fn)
		fn();
}

static int store_and(struct swap_device *dev, const void *page, uint32_t *slot)
{
	int rc = real->store(real, page, slot);

	(void)dev;
	happen();
	return rc;
}

static int and_load(struct swap_device *dev, uint32_t slot, void *page)
{
	(void)dev;
	happen();
	return real->load(real, slot, page);
}

static void use_inner(void)
{
	real = swap_lz4_init(nr_pcpus(), 1000);
	inner = *real;
	inner.store = store_and;
	inner.load = and_load;
	swap_use(&inner);
	free_before = frames_free_count();
}

static void guest_writes(void)
{
	set(30, 2 << 20);
}

Test(swap_names, written_while_being_stored)
{
	struct swap_stats st;
	uint64_t word;

	machine(1);
	use_inner();
	set(30, 1 << 20);
	word = settled(30);
	in_between = guest_writes;
	cr_assert_eq(swap_out(mm, GFN(30), word, &swapped_word), -XEN_EAGAIN);
	cr_assert(is(30, 2 << 20));
	swap_stats(&st);
	cr_assert_eq(st.changed, 1);
	cr_assert_eq(st.slots, 0);
	counts(1, 0);
}

/* pCPU 1 brings the name back first, frees the slot, and uses all it can get for others. */
static void another_is_faster(void)
{
	unsigned was = host_become(1);

	cr_assert(is(30, 1 << 20));
	for (unsigned i = 0; i < 20; i++) {
		host_service();
		host_clock_advance(NS_PER_MS);
	}
	for (unsigned g = 40; g < 60; g++) {
		uint64_t word;

		set(g, g << 20);
		word = name_guard(mm, GFN(g));
		cr_assert_eq(name_settle(mm, GFN(g), word), 1);
		cr_assert_eq(swap_out(mm, GFN(g), word, &swapped_word), 0);
	}
	host_become(was);
}

Test(swap_names, two_bring_it_back)
{
	struct swap_stats st;

	machine(2);
	use_inner();
	set(30, 1 << 20);
	cr_assert_eq(swap_out(mm, GFN(30), settled(30), &swapped_word), 0);
	in_between = another_is_faster;
	cr_assert(is(30, 1 << 20));
	swap_stats(&st);
	cr_assert_eq(st.damaged, 0);
	cr_assert_eq(st.loads, 2);
	counts(1, 20);
	for (unsigned g = 40; g < 60; g++)
		cr_assert(is(g, g << 20));
}

static int bad_load(struct swap_device *dev, uint32_t slot, void *page)
{
	int rc = real->load(real, slot, page);

	(void)dev;
	return rc ? rc : -XEN_EIO;
}

Test(swap_names, a_device_that_fails_loses_nothing)
{
	machine(1);
	use_inner();
	set(30, 1 << 20);
	cr_assert_eq(swap_out(mm, GFN(30), settled(30), &swapped_word), 0);
	inner.load = bad_load;
	cr_assert_not(mfn_valid_value(mm_gfn_to_mfn(mm, GFN(30))));
	cr_assert_eq(name_touch(mm, 30, true, true), -XEN_EIO);
	cr_assert_eq(state(30), NAME_SWAPPED);
	inner.load = and_load;
	cr_assert(is(30, 1 << 20));
}

/* ---- the pump -------------------------------------------------------------------------------- */

static unsigned pump_until(unsigned want, unsigned calls)
{
	unsigned out = 0;

	for (unsigned i = 0; i < calls && out < want; i++) {
		out += swap_pump(mm, want - out);
		host_sim_rcu_drain();
	}
	return out;
}

Test(swap_names, pump)
{
	struct swap_stats st;
	unsigned out, hit[6] = {0};

	machine(1);
	for (unsigned g = 0; g < T_NAMES; g++)
		if (g % 10 == 9)
			set_random(g);
		else if (g % 10)
			set(g, (uint64_t)g << 20);
	mm_gfn_pin_special(mm, GFN(11));
	cr_assert_eq(swap_pump(mm, 0), 0);
	cr_assert_eq(swap_pump(mm, 200), 0, "a grace period comes first");
	cr_assert_eq(swap_pump(mm, 200), 0);
	counts(540, 0);
	host_sim_rcu_drain();
	out = pump_until(200, 100);
	cr_assert_eq(out, 200);
	counts(340, 200);
	for (unsigned g = 0; g < T_NAMES; g++)
		if (state(g) == NAME_SWAPPED)
			hit[g / 100]++;
	for (unsigned i = 0; i < 6; i++)
		cr_assert(hit[i] > 15 && hit[i] < 55, "not from everywhere: %u of 90", hit[i]);
	/* All that can go: 480 names, not the pinned one. */
	out += pump_until(1000, 300);
	cr_assert_eq(out, 479);
	counts(61, 479);
	swap_stats(&st);
	cr_assert_gt(st.refused, 0);
	cr_assert_eq(pump_until(10, 20), 0);
	for (unsigned g = 0; g < T_NAMES; g++)
		if (g % 10 && g % 10 != 9)
			cr_assert(is(g, (uint64_t)g << 20), "name %u", g);
	counts(540, 0);
	machine_done();
}

Test(swap_names, pump_flushes_once_for_all)
{
	struct pcpu *p;
	unsigned left = 0;
	uint32_t before;

	machine(1);
	p = this_pcpu();
	tlb_note_load(mm);
	for (unsigned g = 0; g < 100; g++)
		set(g, (uint64_t)g << 20);
	cr_assert_eq(pump_until(60, 50), 60);
	/* What its batch is not done with needs one. */
	before = atomic_load(&p->tlb.epoch);
	for (unsigned g = 0; g < 100; g++) {
		left += state(g) == NAME_SWAPPED;
		set(g, (uint64_t)g << 21);
	}
	cr_assert_eq(left, 60);
	cr_assert_leq(atomic_load(&p->tlb.epoch) - before, 1);
	counts(100, 0);
	tlb_note_load(NULL);
	machine_done();
}

Test(swap_names, pump_leaves_alone_what_was_refused)
{
	struct swap_stats st;
	uint64_t tried;

	machine(1);
	for (unsigned g = 0; g < 100; g++)
		set_random(g);
	for (unsigned i = 0; i < 200; i++) {
		swap_pump(mm, 80);
		host_sim_rcu_drain();
	}
	swap_stats(&st);
	cr_assert_eq(st.refused, 100, "%llu tries", (unsigned long long)st.refused);
	/* Written again and again, and never fit to be stored: tried ever more seldom. */
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned g = 0; g < 100; g++)
			*(uint64_t *)arch_mfn_to_virt(mm_gfn_get_writable(mm, GFN(g))) = i;
		swap_pump(mm, 80);
		host_sim_rcu_drain();
		swap_pump(mm, 80);
		host_sim_rcu_drain();
	}
	swap_stats(&st);
	tried = st.refused - 100;
	cr_assert_gt(tried, 100);
	cr_assert_lt(tried, 200 * 100 / 4, "%llu tries", (unsigned long long)tried);
	/* What has changed its mind is found. */
	for (unsigned g = 0; g < 100; g++)
		set(g, (uint64_t)g << 20);
	cr_assert_eq(pump_until(100, 500), 100);
	machine_done();
}

Test(swap_names, pump_with_no_room)
{
	unsigned out;

	machine(1);
	for (unsigned g = 0; g < 500; g++)
		set(g, (uint64_t)g << 20);
	swap_set_limit(2);
	out = pump_until(400, 50);
	cr_assert_gt(out, 5);
	cr_assert_lt(out, 400);
	counts(500 - out, out);
	swap_set_limit(100);
	cr_assert_eq(pump_until(400 - out, 50), 400 - out);
	for (unsigned g = 0; g < 500; g++)
		cr_assert(is(g, (uint64_t)g << 20));
	machine_done();
}

Test(swap_names, pump_stopped)
{
	machine(1);
	for (unsigned g = 0; g < 100; g++)
		set(g, (uint64_t)g << 20);
	cr_assert_eq(swap_pump(mm, 50), 0);
	swap_pump_stop(mm);
	host_sim_rcu_drain();
	counts(100, 0);
	cr_assert_eq(pump_until(50, 50), 50);
	cr_assert_eq(swap_pump(mm, 10), 0);
	swap_pump_stop(mm);
	machine_done();
}

/* ---- threads --------------------------------------------------------------------------------- */

static uint64_t t_stamp[T_NAMES], t_seed;
static _Atomic uint64_t t_wrong, t_out, t_reads;
static _Atomic unsigned t_busy, t_loaded, t_left;
static uint64_t t_steps = 6000;

static void gather(_Atomic unsigned *left)
{
	atomic_fetch_sub(left, 1);
	while (atomic_load(left)) {
		between();
		sched_yield();
	}
}

/* Each name has one pCPU that writes it and knows its content; all read all, and all pump. */
static void use(void *arg)
{
	unsigned cpu = this_pcpu()->id;
	struct rnd r = {(t_seed + cpu) * SEED_SHIFT | 1};

	(void)arg;
	tlb_note_load(mm);
	for (uint64_t i = 0; i < t_steps; i++) {
		uint64_t g = rnd_to(&r, T_NAMES), own = g - g % CPUS + cpu;
		mfn_t m;

		switch (rnd_to(&r, 8)) {
		case 0 ... 2:
			if (own >= T_NAMES)
				break;
			m = mm_gfn_to_mfn(mm, GFN(own));
			if (!has(m, t_stamp[own]) && t_stamp[own])
				atomic_fetch_add(&t_wrong, 1);
			m = mm_gfn_get_writable(mm, GFN(own));
			t_stamp[own] = (i + 1) << 24 | own << 8;
			write_to(m, t_stamp[own]);
			break;
		case 3 ... 4:
			m = mm_gfn_to_mfn(mm, GFN(g));
			if (mfn_valid_value(m))
				atomic_fetch_add(&t_reads, 1);
			break;
		default:
			atomic_fetch_add(&t_out, swap_pump(mm, 30));
			break;
		}
		between();
	}
	gather(&t_busy);
	swap_pump_stop(mm);
	tlb_note_load(NULL);
	gather(&t_loaded);
	gather(&t_left);
}

Test(swap_names, users_and_pumps)
{
	struct swap_stats st;

	t_seed = seed_from_env();
	machine(CPUS);
	host_clock_virtual(false);
	t_busy = t_loaded = t_left = CPUS;
	/* New pCPUs begin with empty caches: what the old ones hold and count is gone with them. */
	for (unsigned i = 0; i < CPUS; i++) {
		host_become(i);
		page_cache_drain(&this_pcpu()->pages);
	}
	host_threads_start(CPUS, use, NULL);
	host_threads_join();
	cr_assert_eq(t_wrong, 0);
	for (unsigned i = 0; i < CPUS; i++) {
		host_become(i);
		rcu_thread_online();
	}
	swap_stats(&st);
	printf("# %llu out, %llu loads, %llu reads, %llu changed, %llu refused, %llu frames\n",
	       (unsigned long long)t_out, (unsigned long long)st.loads, (unsigned long long)t_reads,
	       (unsigned long long)st.changed, (unsigned long long)st.refused,
	       (unsigned long long)st.frames);
	cr_assert_gt(t_out, 300);
	cr_assert_gt(t_reads, 1000);
	cr_assert_eq(st.damaged, 0);
	cr_assert_eq(st.stores - st.changed, t_out);
	cr_assert_eq((int64_t)st.slots, mm_sum(mm, MMN_SWAPPED));
	for (unsigned g = 0; g < T_NAMES; g++)
		if (t_stamp[g])
			cr_assert(is(g, t_stamp[g]), "name %u", g);
	counts(mm_sum(mm, MMN_TOUCHED), 0);
}
