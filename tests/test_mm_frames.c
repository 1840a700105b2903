/* SPDX-License-Identifier: MIT */
/* Frame allocator, page caches, retirement. */
#include "mm_test.h"

#define CPUS 4

static void memory(uint64_t frames, uint64_t hole_at, uint64_t hole)
{
	struct mem_range r[2] = {
		{(HOST_FIRST_MFN << 12) + 100, (hole_at << 12) - 100}, /* loses its first page */
		{(HOST_FIRST_MFN + hole_at + hole) << 12, (frames - hole_at - hole) << 12},
	};

	host_arena_init(frames);
	cr_assert_eq(frames_init(r, 2), 0);
}

Test(mm_frames, every_frame_once)
{
	static mfn_t got[5000];
	uint64_t n = 0, total;
	mfn_t m;

	memory(3000, 333, 100);
	host_sim_init(1);
	total = frames_total();
	cr_assert_gt(total, 2700);
	cr_assert_eq(frames_free_count(), total);
	for (unsigned round = 0; round < 3; round++) {
		for (n = 0; mfn_valid_value(m = page_alloc(0)); n++) {
			cr_assert(m.v > HOST_FIRST_MFN && m.v < HOST_FIRST_MFN + 3000);
			cr_assert(m.v < HOST_FIRST_MFN + 333 || m.v >= HOST_FIRST_MFN + 433);
			cr_assert((void *)page_of(m) != NULL);
			*(uint64_t *)arch_mfn_to_virt(m) = ~m.v;
			got[n] = m;
		}
		cr_assert_eq(n, total);
		cr_assert_eq(frames_free_count(), 0);
		for (uint64_t i = 0; i < n; i++) {
			cr_assert_eq(*(uint64_t *)arch_mfn_to_virt(got[i]), ~got[i].v, "twice");
			page_free(got[i]);
		}
		cr_assert_eq(frames_free_count(), total);
	}
	m = page_alloc(PAGE_ALLOC_ZERO);
	for (unsigned i = 0; i < 512; i++)
		cr_assert_eq(((uint64_t *)arch_mfn_to_virt(m))[i], 0);
}

Test(mm_frames, double_free_is_noticed)
{
	mfn_t m;

	memory(1000, 300, 10);
	host_sim_init(1);
	m = page_alloc(0);
	page_free(m);
	if (HOST_CATCH_PANIC())
		return;
	page_free(m);
	cr_assert(false, "freed twice");
}

Test(mm_frames, contiguous)
{
	mfn_t a, b, m;
	uint64_t n;

	memory(3000, 333, 100);
	host_this_pcpu = NULL; /* as at boot */
	a = frames_alloc_contig(3);
	m = page_alloc(0);
	b = frames_alloc_contig(1000); /* does not fit before the hole */
	cr_assert_geq(b.v, HOST_FIRST_MFN + 433);
	cr_assert(!mfn_valid_value(frames_alloc_contig(5000)));
	cr_assert_eq(frames_free_count(), frames_total() - 1004);
	host_sim_init(1);
	for (n = 0; mfn_valid_value(page_alloc(0)); n++)
		;
	cr_assert_eq(n, frames_total() - 1004, "skipped frames were lost");
	cr_assert(!mfn_valid_value(frames_alloc_contig(1)));
	page_free(m);
	cr_assert_eq(page_alloc(0).v, m.v);
	(void)a;
}

/* pCPUs hand frames to each other through a shared table; nothing is lost or handed out twice. */
static _Atomic uint64_t shared[256];

static void churn(void *arg)
{
	struct rnd r = {(uint64_t)this_pcpu()->id * 77 + *(uint64_t *)arg};

	for (unsigned i = 0; i < 100000; i++) {
		unsigned s = rnd_to(&r, 256);
		uint64_t mine = 0, old;

		if (rnd_to(&r, 2)) {
			mfn_t m = page_alloc(0);

			if (mfn_valid_value(m)) {
				mine = m.v;
				cr_assert_eq(page_type(page_of(m)), PG_HYP);
				*(uint64_t *)arch_mfn_to_virt(m) = m.v;
			}
		}
		old = atomic_exchange(&shared[s], mine);
		if (old) {
			cr_assert_eq(*(uint64_t *)arch_mfn_to_virt(MFN(old)), old, "shared");
			*(uint64_t *)arch_mfn_to_virt(MFN(old)) = 0;
			page_free(MFN(old));
		}
	}
}

Test(mm_frames, churn_between_pcpus)
{
	uint64_t seed = seed_from_env(), n;

	memory(1400, 300, 10);
	host_rcu_select(HOST_RCU_QSBR);
	host_threads_start(CPUS, churn, &seed);
	host_threads_join();
	host_become(0);
	rcu_thread_online();
	for (unsigned i = 0; i < 256; i++)
		if (shared[i])
			page_free(MFN(shared[i]));
	cr_assert_eq(frames_free_count(), frames_total());
	for (unsigned i = 0; i < CPUS; i++)
		page_cache_drain(&pcpu_get(i)->pages);
	for (n = 0; mfn_valid_value(page_alloc(0)); n++)
		;
	cr_assert_eq(n, frames_total());
}

/* What pCPUs have claimed of never-used memory, and do not use, any other gets in the end. */
Test(mm_frames, claimed_memory_is_not_lost)
{
	uint64_t n = 0;

	memory(40000, 300, 10);
	host_sim_init(CPUS);
	for (unsigned i = 0; i < CPUS; i++) {
		mfn_t m[2];

		host_become(i);
		for (unsigned j = 0; j < 2; j++, n++)
			m[j] = page_alloc(0);
		cr_assert_eq(m[1].v, m[0].v + 1);
	}
	for (unsigned i = 0; i < CPUS; i++)
		page_cache_drain(&pcpu_get(i)->pages);
	host_become(1);
	while (mfn_valid_value(page_alloc(0)))
		n++;
	cr_assert_eq(n, frames_total());
	cr_assert_eq(frames_free_count(), 0);
}

static _Atomic uint8_t taken[40000];

static void take_all(void *arg)
{
	mfn_t m;

	(void)arg;
	while (mfn_valid_value(m = page_alloc(0)))
		cr_assert_eq(atomic_fetch_add(&taken[m.v - HOST_FIRST_MFN], 1), 0, "twice");
}

/* Four take all there is, from each other's stretches, too. */
Test(mm_frames, never_used_frames_once)
{
	uint64_t n = 0;

	memory(40000, 300, 10);
	host_rcu_select(HOST_RCU_QSBR);
	host_threads_start(CPUS, take_all, NULL);
	host_threads_join();
	for (unsigned i = 0; i < 40000; i++)
		n += taken[i];
	cr_assert_eq(n, frames_total());
}

/* A retired frame is free only after every pCPU with the mm loaded has flushed, and a grace period. */
Test(mm_frames, retirement_waits)
{
	struct pcpu *p1;
	mfn_t m;
	uint64_t g = 40;

	machine_memory();
	host_sim_init(3);
	domain_make(T_NAMES, 3);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	p1 = pcpu_get(1);
	for (unsigned i = 0; i < 2; i++) { /* pCPU 2 never loads it */
		host_become(i);
		arch_context_switch(NULL, dom->vcpu[i]);
	}
	host_become(0);
	m = mm_gfn_to_mfn(mm, GFN(g));
	for (unsigned i = 0; i < RETIRE_BATCH; i++)
		cr_assert_eq(mm_decrease(mm, GFN(g + i)), 0);
	for (unsigned i = 0; i < 5; i++) {
		host_clock_advance(RETIRE_NS); /* the first time closes the batch */
		host_sim_rcu_drain();
		tlb_retire_poll();
		tlb_flush_local();
	}
	cr_assert_eq(page_type(page_of(m)), PG_DOM, "pCPU 1 has not flushed");
	cr_assert_eq(mm_sum(mm, MMK_RETIRED), RETIRE_BATCH);
	host_become(1);
	tlb_flush_local();
	host_become(0);
	tlb_retire_poll();
	cr_assert_eq(page_type(page_of(m)), PG_DOM, "no grace period yet");
	host_sim_rcu_drain();
	cr_assert_eq(page_type(page_of(m)), PG_FREE);
	cr_assert_eq(mm_sum(mm, MMK_RETIRED), 0);

	/* Leaving the address space is a flush as well. */
	m = mm_gfn_to_mfn(mm, GFN(200));
	for (unsigned i = 0; i < RETIRE_BATCH; i++)
		cr_assert_eq(mm_decrease(mm, GFN(200 + i)), 0);
	host_clock_advance(RETIRE_NS);
	host_service();
	tlb_flush_local();
	host_become(1);
	arch_context_switch(dom->vcpu[1], NULL);
	host_become(0);
	tlb_retire_poll();
	host_sim_rcu_drain();
	cr_assert_eq(page_type(page_of(m)), PG_FREE);
	cr_assert_eq(atomic_load(&p1->tlb.loaded), NULL);
	arch_context_switch(dom->vcpu[0], NULL);
	domain_done();
}
