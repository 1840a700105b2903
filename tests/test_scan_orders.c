/* SPDX-License-Identifier: MIT */
/* The scanner beside guests that write: in any order of single steps, and on threads. */
#include "tests/scan_sim.h"

/* ---- any order of events, against the oracle ---- */

static unsigned gone;

static unsigned random_run(uint64_t s, unsigned rounds)
{
	uint64_t want[DOMAINS][NAMES] = {0};
	unsigned wrong = 0;

	for (unsigned r = 0; r < rounds && !wrong; r++) {
		unsigned d = (unsigned)(seed_next(&s) % DOMAINS);
		uint64_t g = seed_next(&s) % 40, id = seed_next(&s) % 8;

		switch (seed_next(&s) % 8) {
		case 0:
			put(d, g, id);
			want[d][g] = id;
			break;
		case 1:
			wrong += !holds(d, g, want[d][g]);
			break;
		case 2: /* gone and back */
			if (seed_next(&s) % 4 == 0 && !mm_decrease(&dom[d]->mm, GFN(g))) {
				cr_assert_eq(mm_populate(&dom[d]->mm, GFN(g), 1), 1);
				want[d][g] = 0;
				gone++;
			}
			break;
		case 3:
			if (name_sample(&dom[d]->mm, GFN(g)))
				tlb_shootdown_mm(&dom[d]->mm);
			break;
		default:
			slice();
		}
	}
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint64_t g = 0; g < 40; g++)
			wrong += !holds(d, g, want[d][g]);
	return wrong;
}

static void any_order(void)
{
	cr_expect_eq(random_run(seed_from_env() | 1, 60000), 0);
	cr_expect_gt(stats().merged, 100);
	cr_expect_gt(gone, 100);
	counters_conserve();
	cr_expect_gt(share_breaks(), 100);
}

Test(scan_orders, any_order_keeps_the_contents)
{
	machine(CPUS);
	weak_hash = weak_sketch = true;
	any_order();
}

Test(scan_orders, any_order_keeps_the_contents_when_sketches_tell_little)
{
	machine(CPUS);
	weak_sketch = true;
	any_order();
}

Test(scan_orders, without_the_comparison_contents_are_lost)
{
	machine(CPUS);
	weak_hash = weak_sketch = blind = true;
	cr_expect_neq(random_run(seed_from_env() | 1, 60000), 0,
		      "pages were mixed up and nobody saw it");
}

/* ---- threads ---- */

#define STORM_CPUS 4
#define WRITERS 2 /* pCPUs 0 and 1; the others scan */

static struct {
	uint64_t seed;
	_Atomic unsigned wrong, writers;
} storm;

static bool enough(unsigned r)
{
	struct scan_stats s;

	if (r % 1000)
		return false;
	s = stats();
	return s.merged + s.zero > 10;
}

static void storm_writer(unsigned id)
{
	uint64_t want[DOMAINS][NAMES] = {0}, s = storm.seed * (id + 1) | 1;

	/* As long as it takes the scanners, which may have to wait for a core. */
	for (unsigned r = 0; r < 20000 || (r < 5000000 && !enough(r)); r++) {
		unsigned d = (unsigned)(seed_next(&s) % DOMAINS);
		uint64_t g = seed_next(&s) % (40 / WRITERS) * WRITERS + id, c = seed_next(&s) % 4;

		if (seed_next(&s) % 8 == 0) {
			put(d, g, c);
			want[d][g] = c;
		} else if (!holds(d, g, want[d][g])) {
			atomic_fetch_add(&storm.wrong, 1);
		}
		host_service();
		tlb_serve();
		tlb_retire_poll();
		if (r % 16 == 0)
			sched_yield();
	}
	atomic_fetch_sub(&storm.writers, 1);
}

static void storm_cpu(void *arg)
{
	struct pcpu *p = this_pcpu();

	(void)arg;
	if (p->id < WRITERS) {
		storm_writer(p->id);
		return;
	}
	while (atomic_load(&storm.writers)) {
		p->work = 0;
		host_service();
		tlb_serve();
		tlb_retire_poll();
		p->work = 0;
		scan_idle(p);
	}
}

static void run_threads(enum host_rcu rcu)
{
	machine(STORM_CPUS);
	storm.seed = seed_from_env() | 1;
	storm.writers = WRITERS;
	host_clock_virtual(false);
	host_rcu_select(rcu);
	host_threads_start(STORM_CPUS, storm_cpu, NULL);
	host_threads_join();
	cr_expect_eq(storm.wrong, 0);
	cr_expect(enough(0), "hardly anything was shared");
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		host_become(i);
		rcu_thread_online();
	}
	host_become(0);
	counters_conserve();
}

Test(scan_orders, writers_and_scanners_qsbr)
{
	run_threads(HOST_RCU_QSBR);
}

Test(scan_orders, writers_and_scanners_urcu)
{
	run_threads(HOST_RCU_URCU);
}
