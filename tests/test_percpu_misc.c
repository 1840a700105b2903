/* SPDX-License-Identifier: MIT */
/* CPU masks, counters, preempt_pending. */
#include "core/host/host.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(percpu_misc, cpumask)
{
	cpumask_t m = CPUMASK_NONE;
	bool model[CPUMASK_BITS] = {false};
	unsigned rng = 5, cpu, n = 0, last = 0;

	for (unsigned i = 0; i < 3000; i++) {
		rng = rng * 1664525u + 1013904223u;
		cpu = rng >> 24;
		if (rng & 0x1000)
			cpumask_set(&m, cpu);
		else
			cpumask_clear(&m, cpu);
		model[cpu] = rng & 0x1000;
		cr_assert_eq(cpumask_test(&m, cpu), model[cpu]);
	}
	for_each_cpu_in(cpu, &m)
	{
		cr_assert(model[cpu]);
		cr_assert(n == 0 || cpu > last);
		last = cpu;
		n++;
	}
	for (cpu = 0; cpu < CPUMASK_BITS; cpu++)
		n -= model[cpu];
	cr_expect_eq(n, 0);
	cr_expect_eq(cpumask_weight(&CPUMASK_ALL), CPUMASK_BITS);
	cr_expect(cpumask_empty(&CPUMASK_NONE));
	m = cpumask_of(255);
	cr_expect_eq(cpumask_next(&m, 0), 255);
	cr_expect_eq(cpumask_next(&m, 255), 255);
	cr_expect_eq(cpumask_next(&m, 256), CPUMASK_BITS);
}

static atomic_cpumask_t shared_mask;
static struct counter ticks = {.name = "ticks"}, unused = {.name = "unused"};

#define CPUS 4
#define ROUNDS 20000

static void count(void *arg)
{
	unsigned self = this_pcpu()->id;

	(void)arg;
	counter_register(&ticks);
	for (unsigned i = 0; i < ROUNDS; i++) {
		counter_inc(&ticks);
		if (i % 8)
			continue;
		/* Each pCPU its own bits of words that all write. */
		cr_assert_not(cpumask_set_atomic(&shared_mask, self * 60 + i % 60));
		cr_assert(cpumask_clear_atomic(&shared_mask, self * 60 + i % 60));
	}
	counter_add(&ticks, 1000);
}

static unsigned seen_ticks, seen_unused;

static void visit(const char *name, uint64_t value, void *arg)
{
	(void)value;
	cr_expect_eq(arg, &ticks);
	seen_ticks += !strcmp(name, "ticks");
	seen_unused += !strcmp(name, "unused");
}

Test(percpu_misc, counters)
{
	host_clock_virtual(false);
	host_threads_start(CPUS, count, NULL);
	host_threads_join();
	cr_expect_eq(counter_sum(&ticks), CPUS * (ROUNDS + 1000));
	counters_visit(visit, &ticks);
	cr_expect_eq(seen_ticks, 1);
	cr_expect_eq(seen_unused, 0);
	cr_expect_eq(unused.slot, 0);
}

static void nothing(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
}

static void received(struct inbox_msg *m)
{
	(void)m;
}

Test(percpu_misc, preempt_pending)
{
	struct timer t;
	struct inbox_msg m = {.fn = received};

	host_sim_init(2);
	this_pcpu()->work = 0;
	cr_expect_not(preempt_pending());
	timer_init(&t, nothing);
	timer_arm(&t, 100);
	cr_expect_not(preempt_pending());
	host_clock_set(100);
	cr_expect(preempt_pending(), "a timer is due");
	timers_run(100);
	cr_expect_not(preempt_pending());
	host_become(1);
	inbox_post(0, &m);
	host_become(0);
	cr_expect(preempt_pending(), "another pCPU wants something");
	inbox_drain();
	cr_expect_not(preempt_pending());
	this_pcpu()->work |= WORK_RESCHED;
	cr_expect(preempt_pending());
}
