/* SPDX-License-Identifier: MIT */
/*
 * Many pCPUs work on one domain's memory at once, each also playing the guest on it: it walks the
 * hardware tables and keeps a TLB, which only the hypervisor's flushes empty. Checked: no frame that
 * a TLB still maps, or a cached table, is ever freed (its state word changes with each free); at rest
 * everything is as the oracle says.
 */
#ifndef TESTS_MM_STORM_H
#define TESTS_MM_STORM_H

#include "mm_test.h"

#define STORM_CPUS 4
#define FIRST_DATA 15
#define FIRST_BALLOON 300 /* these come and go; FIRST_DATA.. stay */
#define END_BALLOON 330

/* Designated levels of the names used as tables. */
static unsigned storm_level(uint64_t g)
{
	return g <= 2 ? 4 : g <= 4 ? 3 : g <= 6 ? 2 : 1;
}

struct sim_tlb {
	struct {
		uint64_t va, hw, state;
	} e[64];
	struct {
		uint64_t region, l1, state;
	} pde[8];
} CACHE_ALIGNED;

static struct sim_tlb storm_tlb[STORM_CPUS];
static _Atomic uint64_t storm_hits, storm_walks, storm_faults;
static _Atomic int storm_pins[T_NAMES];
static uint64_t storm_ops, storm_seed;

static void storm_hook(uint64_t va)
{
	struct sim_tlb *t = &storm_tlb[this_pcpu()->id];

	if (va == UINT64_MAX)
		memset(t->e, 0, sizeof(t->e));
	else if (t->e[va >> 12 & 63].va == (va >> 12) + 1)
		t->e[va >> 12 & 63].va = 0;
	memset(t->pde, 0, sizeof(t->pde)); /* INVLPG empties the paging-structure caches, too */
}

static uint64_t frame_state(uint64_t m)
{
	return atomic_load(&page_of(MFN(m))->state);
}

static void kicked(void)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	if (atomic_load(&t->req) == atomic_load(&t->done) && !atomic_load(&t->drain))
		return;
	rcu_thread_online();
	tlb_serve();
	host_service();
	rcu_thread_offline();
}

/* One guest access; in guest mode (RCU offline). */
static void guest_access(uint64_t va, bool write)
{
	struct sim_tlb *t = &storm_tlb[this_pcpu()->id];
	uint64_t key = (va >> 12) + 1, region = (va >> 21) + 1;
	unsigned ei = va >> 12 & 63, pi = va >> 21 & 7;

	for (unsigned tries = 0; tries < 3; tries++) {
		uint64_t m, hw;
		uint32_t ec;

		kicked();
		if (t->e[ei].va == key && (!write || t->e[ei].hw & PTE_RW)) {
			atomic_fetch_add_explicit(&storm_hits, 1, memory_order_relaxed);
			cr_assert_eq(frame_state(pte_frame(t->e[ei].hw)), t->e[ei].state,
				     "the TLB maps a frame that was freed");
			return;
		}
		atomic_fetch_add_explicit(&storm_walks, 1, memory_order_relaxed);
		if (t->pde[pi].region == region) {
			m = t->pde[pi].l1;
			cr_assert_eq(frame_state(m), t->pde[pi].state, "a cached table was freed");
		} else {
			m = this_pcpu()->current->arch.kernel_root.v;
			for (unsigned l = 4; l > 1 && m; l--) {
				cr_assert_eq(frame_state(m) & 0xff, PG_HWTABLE, "not a table");
				hw = hw_entries(page_of(MFN(m)))[pt_index(va, l)];
				m = hw & PTE_P ? pte_frame(hw) : 0;
			}
			if (m) {
				t->pde[pi].state = frame_state(m);
				t->pde[pi].l1 = m;
				t->pde[pi].region = region;
				cr_assert_eq(frame_state(m) & 0xff, PG_HWTABLE, "not a table");
			}
		}
		hw = m ? (uint64_t)hw_entries(page_of(MFN(m)))[pt_index(va, 1)] : 0;
		if (hw & PTE_P && (!write || hw & PTE_RW)) {
			t->e[ei].hw = hw;
			t->e[ei].state = frame_state(pte_frame(hw));
			t->e[ei].va = key;
			cr_assert_eq(t->e[ei].state & 0xff, PG_DOM, "a mapped frame is free");
			return;
		}
		rcu_thread_online();
		atomic_fetch_add_explicit(&storm_faults, 1, memory_order_relaxed);
		if (mm_fault(mm, current_vcpu()->arch.kernel_root, va,
			     4 | (write ? 2 : 0) | (hw & PTE_P), true, &ec) != MM_FAULT_RETRY)
			tries = 3;
		between();
		rcu_thread_offline();
	}
}

static uint64_t storm_va(struct rnd *r)
{
	/* L4 slot 0, L3 0..1, L2 0..3, and few L1 entries so that pCPUs meet. */
	return rnd_to(r, 2) << 30 | rnd_to(r, 4) << 21 | rnd_to(r, 12) << 12;
}

static void guest_run(struct rnd *r)
{
	rcu_thread_offline();
	for (unsigned i = 0; i < 20; i++)
		guest_access(storm_va(r), rnd_to(r, 2));
	rcu_thread_online();
}

static uint64_t storm_leaf(struct rnd *r)
{
	uint64_t t;

	switch (rnd_to(r, 6)) {
	case 0:
		t = FIRST_BALLOON + rnd_to(r, END_BALLOON - FIRST_BALLOON);
		break;
	case 1:
		t = 3 + rnd_to(r, 12); /* a table, sometimes writable while it is none */
		return entry(t, rnd_to(r, 2) ? P_RO_A : P_RW_AD);
	default:
		t = FIRST_DATA + rnd_to(r, 12); /* few, so that overflow chunks are used */
		break;
	}
	return entry(t, rnd_to(r, 5) ? (rnd_to(r, 3) ? P_RW_AD : PTE_P | PTE_RW) : 0);
}

static void storm_update(struct rnd *r)
{
	struct mmu_update u[4];
	unsigned n = 1 + rnd_to(r, 4);

	for (unsigned i = 0; i < n; i++) {
		uint64_t g = rnd_to(r, 4) ? 7 + rnd_to(r, 8) : 1 + rnd_to(r, 6);
		unsigned level = storm_level(g), idx;

		if (level == 1) {
			idx = rnd_to(r, 12);
			u[i].val = storm_leaf(r);
		} else {
			uint64_t child = level == 4   ? 3 + rnd_to(r, 2)
					 : level == 3 ? 5 + rnd_to(r, 2)
						      : 7 + rnd_to(r, 8);

			idx = level == 4 ? 0 : rnd_to(r, level == 3 ? 2 : 4);
			u[i].val = rnd_to(r, 4) ? entry(child, P_TABLE) : 0;
		}
		u[i].ptr = g << 12 | idx << 3 | (rnd_to(r, 4) ? 0 : MMU_PT_UPDATE_PRESERVE_AD);
	}
	hc4(do_mmu_update, (uint64_t)u, n, 0, DOMID_SELF);
}

static void storm_pin(struct rnd *r)
{
	uint64_t g = 2 + rnd_to(r, 13);

	if (rnd_to(r, 2)) {
		if (!pin_all(g, storm_level(g)))
			atomic_fetch_add(&storm_pins[g], 1);
	} else if (!mm_unpin(mm, GFN(g))) {
		atomic_fetch_sub(&storm_pins[g], 1);
		reap_all();
	}
}

static void storm_balloon(struct rnd *r)
{
	uint64_t g = FIRST_BALLOON + rnd_to(r, END_BALLOON - FIRST_BALLOON);

	if (rnd_to(r, 2))
		mm_decrease(mm, GFN(g));
	else
		mm_populate(mm, GFN(g), 1);
}

static void storm_base(struct rnd *r)
{
	struct mmuext_op op = {.cmd = MMUEXT_NEW_BASEPTR};

	op.arg1.mfn = 1 + rnd_to(r, 2);
	hc4(do_mmuext_op, (uint64_t)&op, 1, 0, DOMID_SELF);
	storm_hook(UINT64_MAX); /* the CR3 load */
}

static void storm_idle(struct vcpu *v)
{
	/* Off and on again: the hypervisor's own tables in between. */
	arch_context_switch(v, NULL);
	storm_hook(UINT64_MAX);
	between();
	arch_context_switch(NULL, v);
	storm_hook(UINT64_MAX);
}

static _Atomic unsigned storm_ready, storm_running, storm_loaded, storm_waiting;

/* Wait until all have come here, serving them meanwhile. */
static void storm_gather(_Atomic unsigned *left)
{
	atomic_fetch_sub(left, 1);
	while (atomic_load(left)) {
		between();
		sched_yield();
	}
}

static void storm_cpu(void *arg)
{
	unsigned cpu = this_pcpu()->id;
	struct vcpu *v = dom->vcpu[cpu];
	struct rnd r = {(storm_seed + cpu + 1) * 0x9e3779b97f4a7c15ULL | 1};
	mfn_t root;

	(void)arg;
	if (HOST_CATCH_PANIC())
		cr_assert(false, "panic: %s", host_panic_text);
	this_pcpu()->current = v;
	cr_assert_eq(base_all(1, &root), 0);
	v->arch.kernel_l4 = GFN(1);
	v->arch.kernel_root = root;
	arch_context_switch(NULL, v);
	/* Nobody spoils the tables before all have the first one loaded. */
	atomic_fetch_add(&storm_ready, 1);
	while (atomic_load(&storm_ready) < STORM_CPUS)
		between();
	for (uint64_t i = 0; i < storm_ops; i++) {
		switch (rnd_to(&r, 16)) {
		case 0 ... 7:
			storm_update(&r);
			break;
		case 8:
		case 9:
			storm_pin(&r);
			break;
		case 10:
			storm_balloon(&r);
			break;
		case 11:
			storm_base(&r);
			break;
		case 12:
			if (!rnd_to(&r, 8))
				storm_idle(v);
			break;
		default:
			guest_run(&r);
			break;
		}
		between();
	}
	reap_all();
	/* Others may still wait for this pCPU, and what they serve here (callbacks, drains of retired
	 * frames) may make them begin to. That ends when none has the mm loaded: who began before
	 * is served in the last gathering. */
	storm_gather(&storm_running);
	arch_context_switch(v, NULL);
	storm_hook(UINT64_MAX);
	storm_gather(&storm_loaded);
	storm_gather(&storm_waiting);
}

/* Frames in use that a forgotten pCPU had counted. */
static int64_t storm_counted;

/* Back to one thread that plays all pCPUs; everything must come back. */
static void storm_teardown(void)
{
	struct mm_stats st;

	teardown_all();
	mm_stats(mm, &st);
	for (unsigned k = 0; k < MMK_KINDS; k++)
		cr_assert_eq(st.frames[k], 0, "kind %u: %lld frames", k, (long long)st.frames[k]);
	/* The frames the set-up pCPU took were freed by others, so the count is above the total. */
	cr_assert_eq((int64_t)frames_free_count() - storm_counted, (int64_t)free_at_start,
		     "frames lost");
	for (unsigned i = 0; i < dom->max_vcpus; i++)
		free(dom->vcpu[i]);
	free(dom);
}

/* One storm from an initial layout to the checks and the teardown. */
static void storm(uint64_t seed, uint64_t ops)
{
	storm_seed = seed;
	storm_ops = ops;
	host_rcu_select(HOST_RCU_QSBR);
	machine_memory();
	host_this_pcpu = NULL;
	host_tlb_hook = storm_hook;
	memset(storm_tlb, 0, sizeof(storm_tlb));
	memset((void *)storm_pins, 0, sizeof(storm_pins));
	atomic_store(&storm_ready, 0);
	atomic_store(&storm_running, STORM_CPUS);
	atomic_store(&storm_loaded, STORM_CPUS);
	atomic_store(&storm_waiting, STORM_CPUS);
	host_sim_init(1); /* for the set-up */
	host_rcu_select(HOST_RCU_QSBR);
	domain_make(T_NAMES, STORM_CPUS);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	guest_page(1)[0] = entry(3, P_TABLE);
	guest_page(2)[0] = entry(4, P_TABLE);
	guest_page(3)[0] = entry(5, P_TABLE);
	guest_page(4)[0] = entry(6, P_TABLE);
	for (unsigned i = 0; i < 4; i++) {
		guest_page(5)[i] = entry(7 + i, P_TABLE);
		guest_page(6)[i] = entry(11 + i, P_TABLE);
	}
	page_cache_drain(&this_pcpu()->pages);
	storm_counted = (int64_t)(free_at_start - frames_free_count());
	host_threads_start(STORM_CPUS, storm_cpu, NULL);
	host_threads_join();

	for (uint64_t g = 0; g < T_NAMES; g++) {
		t_pins[g] = (unsigned)storm_pins[g];
		t_pin_level[g] = storm_level(g);
		t_touched[g] = g < FIRST_DATA || (g >= FIRST_BALLOON && g < END_BALLOON);
		cr_assert(storm_pins[g] == 0 || storm_pins[g] == 1, "%d pins", storm_pins[g]);
	}
	for (unsigned i = 0; i < STORM_CPUS; i++)
		t_bases[dom->vcpu[i]->arch.kernel_l4.v]++;
	/* From here on one thread plays them all again. */
	for (unsigned i = 0; i < STORM_CPUS; i++) {
		host_become(i);
		rcu_thread_online();
	}
	host_become(0);
	check_all();
}

#endif
