/* SPDX-License-Identifier: MIT */
/*
 * percpu/tlb.h: a frame is taken out of a page table while another pCPU loads that table, caches the
 * entry and uses the frame. Its TLB is one word here.
 */
#include "percpu/tlb.h"

#include "stress/litmus/tests/world.h"

static _Atomic uint64_t entry; /* of the page table */
static _Atomic uint32_t over;
static uint64_t tlb[2];
static uint64_t frame;
static bool freed;
static struct mm mm;

static void flush(uint64_t va)
{
	(void)va;
	tlb[this_pcpu()->id] = 0;
}

static void setup_tlb(void)
{
	world_memory(2);
	host_tlb_hook = flush;
	atomic_store(&entry, 1);
	/* It has been a user before: only the fence of its load tells who shoots. */
	cpumask_set_atomic(&mm.users.mask, 1);
}

/* A page walk fills the TLB at any time. The hardware's loads are in order, which is what the
 * fence in tlb_note_load() is for; they are relaxed here. */
static void use(void)
{
	unsigned cpu = this_pcpu()->id;

	if (!tlb[cpu])
		tlb[cpu] = atomic_load_explicit(&entry, memory_order_relaxed);
	if (tlb[cpu])
		LITMUS_ASSERT(frame == 0 && !freed);
}

static void load_cr3(struct mm *to)
{
	tlb_note_load(to);
	tlb[this_pcpu()->id] = 0;
}

static void loader(void)
{
	load_cr3(&mm);
	use();
	while (!atomic_load_explicit(&over, memory_order_acquire)) {
		tlb_serve();
		use();
		cpu_relax();
	}
	load_cr3(NULL);
}

static void shooter(void)
{
	atomic_store_explicit(&entry, 0, memory_order_relaxed);
	tlb_shootdown_mm(&mm);
	frame = 1;
	atomic_store_explicit(&over, 1, memory_order_release);
}

static void thread_tlb(unsigned me)
{
	(me ? loader : shooter)();
}

LITMUS(shootdown, "tlb", "after a shootdown no pCPU uses what was taken out", 2, 0, setup_tlb,
       thread_tlb, NULL);

/* ---- two requests at once, by number ---- */

static _Atomic uint64_t entries[3];
static _Atomic uint32_t left;

static void setup_cpus(void)
{
	world_memory(3);
	host_tlb_hook = flush;
	atomic_store(&entries[0], 1);
	atomic_store(&entries[2], 1);
	atomic_store(&left, 2);
}

static uint64_t frames[3], caches[3];

static void flush_all(uint64_t va)
{
	(void)va;
	if (this_pcpu()->id == 1)
		caches[0] = caches[2] = 0;
}

static void use_all(void)
{
	for (unsigned i = 0; i < 3; i += 2) {
		if (!caches[i])
			caches[i] = atomic_load_explicit(&entries[i], memory_order_relaxed);
		if (caches[i])
			LITMUS_ASSERT(frames[i] == 0);
	}
}

static void thread_cpus(unsigned me)
{
	cpumask_t one = cpumask_of(1);

	if (me != 1) {
		atomic_store_explicit(&entries[me], 0, memory_order_relaxed);
		tlb_shootdown_cpus(&one);
		frames[me] = 1;
		atomic_fetch_sub_explicit(&left, 1, memory_order_release);
		return;
	}
	use_all();
	while (atomic_load_explicit(&left, memory_order_acquire)) {
		tlb_serve();
		use_all();
		cpu_relax();
	}
}

static void setup_requests(void)
{
	setup_cpus();
	host_tlb_hook = flush_all;
}

LITMUS(requests, "tlb_cpus", "the same for two who ask at once", 3, 2, setup_requests, thread_cpus,
       NULL);

/* ---- retirement ---- */

static struct domain *dom;
static struct page_info *page;

static void setup_retire(void)
{
	setup_tlb();
	dom = world_domain("a", 1, 8);
	page = page_of(mm_gfn_to_mfn(&dom->mm, GFN(3)));
	cpumask_set_atomic(&dom->mm.users.mask, 1);
	world_settle();
	/* One more closes the batch. */
	if (mm_decrease(&dom->mm, GFN(1)))
		litmus_fail("not given up");
	this_pcpu()->tlb.open->n = RETIRE_MOST - 1;
	/* Thread 1 is idle at first. */
	host_become(1);
	rcu_thread_offline();
	host_become(0);
}

/* Guest mode: offline for RCU, but with a TLB. */
static void guest(void)
{
	unsigned cpu = this_pcpu()->id;

	if (!tlb[cpu])
		tlb[cpu] = atomic_load_explicit(&entry, memory_order_relaxed);
	if (tlb[cpu])
		LITMUS_ASSERT(page_type(page) == PG_DOM);
}

static void thread_retire(unsigned me)
{
	if (me) {
		rcu_thread_online();
		load_cr3(&dom->mm);
		rcu_thread_offline();
		guest();
		rcu_thread_online();
		load_cr3(&dom->mm);
		/* The epoch's reader relies on it that the CR3 write is serializing. */
		atomic_thread_fence(memory_order_seq_cst);
		rcu_thread_offline();
		guest();
		rcu_thread_online();
		load_cr3(NULL);
		rcu_thread_offline();
		return;
	}
	atomic_store_explicit(&entry, 0, memory_order_relaxed);
	/* A batch of two domains' frames. */
	tlb_retire(&mm, page);
	for (unsigned i = 0; i < 4; i++) {
		tlb_retire_poll();
		rcu_poll();
	}
}

LITMUS(retirement, "retire", "a frame is reused only after the TLBs and readers that may have it",
       2, 2, setup_retire, thread_retire, NULL);
