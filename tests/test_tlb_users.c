/* SPDX-License-Identifier: MIT */
/*
 * Which pCPUs a shootdown asks (percpu/tlb.h, users): all that have the address space loaded, however
 * they come and go; and not many others.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/host.h"
#include "memsvc/mm.h"
#include "tests/seed.h"

#define CPUS 10
#define SHOOTERS 2
#define LOADS 3000 /* of each loader */

static struct mm *new_mm(void)
{
	struct mm *mm = aligned_alloc(CACHE_LINE, ROUND_UP(sizeof(*mm), CACHE_LINE));

	memset(mm, 0, sizeof(*mm));
	return mm;
}

static void load(unsigned cpu, struct mm *mm)
{
	unsigned was = host_become(cpu);

	tlb_note_load(mm);
	host_become(was);
}

static unsigned users(struct mm *mm)
{
	cpumask_t m = tlb_users(mm);

	return cpumask_weight(&m);
}

Test(tlb_users, those_who_load)
{
	struct mm *a = new_mm(), *b = new_mm();
	cpumask_t m;

	host_sim_init(CPUS);
	cr_assert_eq(users(a), 0);
	load(3, a);
	load(5, a);
	load(4, b);
	m = tlb_users(a);
	cr_assert(cpumask_test(&m, 3) && cpumask_test(&m, 5));
	cr_assert_eq(users(a), 2);
	cr_assert_eq(users(b), 1);
}

Test(tlb_users, who_leaves_stays_until_several_have)
{
	struct mm *a = new_mm(), *b = new_mm();
	cpumask_t m;

	host_sim_init(CPUS);
	for (unsigned i = 1; i < CPUS; i++)
		load(i, a);
	for (unsigned i = 1; i < 4; i++)
		load(i, b);
	load(0, NULL);
	/* Nobody else answers a request here: those who have it loaded do so beforehand. */
	for (unsigned i = 4; i < CPUS; i++)
		load(i, NULL);
	load(4, a);
	cr_assert_eq(users(a), CPUS - 1, "coming back writes nothing");
	load(4, NULL);
	tlb_shootdown_mm(a);
	cr_assert_eq(users(a), 0);
	m = tlb_users(b);
	cr_assert(cpumask_test(&m, 1) && cpumask_weight(&m) == 3);
	load(2, a);
	m = tlb_users(a);
	cr_assert(cpumask_test(&m, 2) && cpumask_weight(&m) == 1);
}

/* pCPU 1 goes idle, with a timer due in @ns. */
static struct mm *loaded_after_idling(uint64_t ns)
{
	unsigned was = host_become(1);
	struct mm *mm;

	tlb_note_idle();
	tlb_idle(ns == TIME_NEVER ? TIME_NEVER : arch_now_ns() + ns);
	mm = atomic_load(&this_pcpu()->tlb.loaded);
	host_become(was);
	return mm;
}

Test(tlb_users, who_sleeps_briefly_stays)
{
	struct mm *a = new_mm();

	host_sim_init(CPUS);
	host_clock_set(NS_PER_SEC);
	load(1, a);
	cr_assert_eq(loaded_after_idling(TLB_KEEP_NS / 2), a);
	load(1, a);
	cr_assert_eq(loaded_after_idling(2 * TLB_KEEP_NS), NULL);
	load(1, a);
	cr_assert_eq(loaded_after_idling(TIME_NEVER), NULL);
	load(1, a);
	cr_assert_eq(loaded_after_idling(0), a, "the last stay is over, this is another");
	host_clock_advance(TLB_KEEP_NS / 2);
	cr_assert_eq(loaded_after_idling(1), a);
	host_clock_advance(TLB_KEEP_NS / 2);
	cr_assert_eq(loaded_after_idling(1), NULL, "timer after timer, and nothing to run");
}

Test(tlb_users, who_comes_back_to_another_space_at_the_same_address)
{
	struct mm *a = new_mm();

	host_sim_init(CPUS);
	host_clock_set(NS_PER_SEC);
	load(1, a);
	cr_assert_eq(loaded_after_idling(1), a);
	memset(a, 0, sizeof(*a));
	load(1, a);
	cr_assert_eq(users(a), 1);
}

Test(tlb_users, a_reader_during_the_change_takes_all)
{
	struct mm *a = new_mm();

	host_sim_init(CPUS);
	load(1, a);
	atomic_store(&a->users.epoch, 1);
	cr_assert_eq(users(a), CPUS);
	for (unsigned i = 0; i < CPUS; i++)
		tlb_users_left(a, CPUS); /* another's window: left alone */
	cr_assert_eq(atomic_load(&a->users.epoch), 1);
	atomic_store(&a->users.epoch, 2);
	cr_assert_eq(users(a), 1);
}

/*
 * Threads come and go between two address spaces with a one-entry TLB each, while others change the
 * entry and shoot. Once a shot is over nobody may still use an older entry.
 */
static struct mm *spaces[2];
static struct {
	_Atomic uint64_t entry, over;
} CACHE_ALIGNED space[2];
static _Atomic unsigned shooting, loading;
static _Thread_local int tlb_space = -1;
static _Thread_local uint64_t tlb_entry;
static uint64_t seed0;

static void flushed(uint64_t va)
{
	(void)va;
	if (tlb_space >= 0)
		tlb_entry = atomic_load_explicit(&space[tlb_space].entry, memory_order_relaxed);
}

static void loader(uint64_t *rng)
{
	for (unsigned n = 0; n < LOADS; n++) {
		uint64_t r = seed_next(rng);

		if (r % 3 == 0) {
			tlb_space = -1;
			if (r / 3 % 2) {
				tlb_note_load(NULL);
			} else {
				tlb_note_idle();
				tlb_idle(arch_now_ns() + r / 6 % (2 * TLB_KEEP_NS));
			}
		} else {
			int s = (int)(r / 3 % 2);

			tlb_note_load(spaces[s]);
			tlb_space = s;
			tlb_entry = atomic_load_explicit(&space[s].entry, memory_order_relaxed);
		}
		for (unsigned i = 0; tlb_space >= 0 && i < r / 16 % 8; i++) {
			uint64_t over = atomic_load(&space[tlb_space].over);

			cr_assert_geq(tlb_entry, over, "an entry that was shot is still used");
			tlb_serve();
			cpu_relax(); /* the shooters go on meanwhile */
		}
		tlb_serve();
	}
	tlb_space = -1;
	tlb_note_load(NULL);
	atomic_fetch_sub(&loading, 1);
}

static void shooter(unsigned s)
{
	for (uint64_t i = 1; atomic_load(&loading); i++) {
		atomic_store_explicit(&space[s].entry, i, memory_order_relaxed);
		tlb_shootdown_mm(spaces[s]);
		atomic_store(&space[s].over, i);
		cpu_relax();
	}
	tlb_shootdown_mm(spaces[s]);
	atomic_fetch_sub(&shooting, 1);
}

static void pcpu_main(void *arg)
{
	unsigned id = this_pcpu()->id;
	uint64_t rng = seed0 + id;

	(void)arg;
	if (id < SHOOTERS)
		shooter(id);
	else
		loader(&rng);
	/* A request to a pCPU that has just left is served nevertheless. */
	while (atomic_load(&shooting)) {
		tlb_serve();
		cpu_relax();
	}
}

Test(tlb_users, threads, .timeout = 280)
{
	seed0 = seed_from_env();
	spaces[0] = new_mm();
	spaces[1] = new_mm();
	atomic_store(&shooting, SHOOTERS);
	atomic_store(&loading, CPUS - SHOOTERS);
	host_tlb_hook = flushed;
	host_threads_start(CPUS, pcpu_main, NULL);
	host_threads_join();
	printf("# %lu and %lu shots\n", (unsigned long)space[0].over, (unsigned long)space[1].over);
	cr_assert(space[0].over && space[1].over);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_lt(users(spaces[i]), 4, "who has left is still asked");
}
