/* SPDX-License-Identifier: MIT */
/* Compressed store, several threads: what each name holds against an oracle. */
#include <pthread.h>

#include "tests/swap_store.h"

#define CPUS 4
#define NAMES 512

/* A name: 0, or slot << 32 | seed of what it holds. The kind follows from the seed. */
static _Atomic uint64_t names[NAMES];
static _Atomic uint64_t t_stores, t_loads, t_refused, t_wrong, t_beaten;
static unsigned t_steps, t_names;
static uint64_t t_seed;

static enum kind kind_of(uint32_t seed)
{
	return seed % KINDS;
}

static void one_step(uint64_t *s, uint64_t *mine, uint64_t *got)
{
	_Atomic uint64_t *name = &names[seed_to(s, t_names)];
	uint64_t word = atomic_load_explicit(name, memory_order_acquire);
	uint32_t seed, slot;
	int rc;

	if (!word) {
		seed = (uint32_t)(seed_next(s) >> 32) | 1;
		make_page(mine, kind_of(seed), seed);
		rc = dev->store(dev, mine, &slot);
		if (rc) {
			atomic_fetch_add(&t_refused, 1);
			return;
		}
		atomic_fetch_add(&t_stores, 1);
		if (!atomic_compare_exchange_strong(name, &word, (uint64_t)slot << 32 | seed)) {
			atomic_fetch_add(&t_beaten, 1);
			swap_free(slot);
		}
		return;
	}
	seed = (uint32_t)word;
	slot = (uint32_t)(word >> 32);
	/* Another may take the slot out of the name now: the content must stay all the same. */
	if (seed_to(s, 8) == 0)
		sched_yield();
	rc = swap_load(slot, got);
	make_page(mine, kind_of(seed), seed);
	if (rc || memcmp(mine, got, PAGE_SIZE) != 0)
		atomic_fetch_add(&t_wrong, 1);
	atomic_fetch_add(&t_loads, 1);
	if (seed_to(s, 2) && atomic_compare_exchange_strong(name, &word, 0))
		swap_free(slot);
}

static void check_at_rest(uint64_t limit)
{
	struct swap_stats st = stats();
	uint64_t live = 0;

	for (unsigned i = 0; i < NAMES; i++)
		live += names[i] != 0;
	cr_assert_eq(st.slots, live);
	cr_assert_eq(st.stores, t_stores);
	cr_assert_leq(st.frames, limit);
	printf("# %llu stores (%llu refused, %llu beaten), %llu loads, %llu live, %llu frames\n",
	       (unsigned long long)t_stores, (unsigned long long)t_refused,
	       (unsigned long long)t_beaten, (unsigned long long)t_loads, (unsigned long long)live,
	       (unsigned long long)st.frames);
}

static pthread_barrier_t rest;

static void churn(void *arg)
{
	uint64_t s = (t_seed + this_pcpu()->id) * 0x9e3779b97f4a7c15ULL | 1;
	uint64_t *mine = malloc(PAGE_SIZE), *got = malloc(PAGE_SIZE);

	for (unsigned i = 0; i < t_steps; i++) {
		one_step(&s, mine, got);
		if (!seed_to(&s, 4))
			host_service();
	}
	free(mine);
	free(got);
	pthread_barrier_wait(&rest);
	if (!this_pcpu()->id)
		check_at_rest(*(uint64_t *)arg);
	pthread_barrier_wait(&rest);
	for (unsigned i = this_pcpu()->id; i < NAMES; i += CPUS) {
		uint64_t word = atomic_exchange(&names[i], 0);

		if (word)
			swap_free((uint32_t)(word >> 32));
	}
	pthread_barrier_wait(&rest);
	while (stats().waiting || rcu_pending())
		host_service();
}

static void run_threads(enum host_rcu rcu, uint64_t limit, unsigned n_names, unsigned steps)
{
	memory();
	host_rcu_select(rcu);
	store_init(CPUS, limit);
	t_seed = seed_from_env();
	t_steps = steps;
	t_names = n_names;
	pthread_barrier_init(&rest, NULL, CPUS);
	host_threads_start(CPUS, churn, &limit);
	host_threads_join();
	cr_assert_eq(t_wrong, 0, "%llu wrong contents", (unsigned long long)t_wrong);
	cr_assert_gt(t_loads, steps);
	cr_assert_eq(t_refused > 0, limit < 100);
	check_empty(CPUS);
}

Test(swap_threads, urcu)
{
	run_threads(HOST_RCU_URCU, FRAMES, NAMES, 10000);
}

Test(swap_threads, qsbr)
{
	run_threads(HOST_RCU_QSBR, FRAMES, NAMES, 10000);
}

Test(swap_threads, little_room)
{
	run_threads(HOST_RCU_QSBR, 40, NAMES, 10000);
}

Test(swap_threads, on_few_names)
{
	run_threads(HOST_RCU_QSBR, FRAMES, 8, 10000);
}
