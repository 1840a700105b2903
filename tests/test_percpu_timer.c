/* SPDX-License-Identifier: MIT */
/* The timer heap against a plain list of what should be armed. */
#include "core/host/host.h"

#include <criterion/criterion.h>
#include <string.h>

#define TIMERS 200

static struct timer timers[TIMERS];
static uint64_t model[TIMERS]; /* expiry, TIME_NEVER: not armed */
static uint64_t last_fired;
static unsigned fired;

static void expired(struct timer *t, uint64_t now)
{
	unsigned i = (unsigned)(t - timers);

	cr_assert_neq(model[i], TIME_NEVER, "timer %u was not armed", i);
	cr_assert_leq(model[i], now);
	cr_assert_geq(model[i], last_fired, "out of order");
	cr_assert_not(timer_armed(t));
	last_fired = model[i];
	model[i] = TIME_NEVER;
	fired++;
}

static uint64_t model_next(void)
{
	uint64_t next = TIME_NEVER;

	for (unsigned i = 0; i < TIMERS; i++)
		next = MIN(next, model[i]);
	return next;
}

static void random_operations(unsigned seed)
{
	unsigned rng = seed;
	uint64_t now = 0;

	host_sim_init(1);
	fired = 0;
	for (unsigned i = 0; i < TIMERS; i++) {
		timer_init(&timers[i], expired);
		model[i] = TIME_NEVER;
	}
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i;

		rng = rng * 1664525u + 1013904223u;
		i = (rng >> 8) % TIMERS;
		switch (rng >> 28) {
		case 0:
		case 1:
			timer_disarm(&timers[i]);
			model[i] = TIME_NEVER;
			break;
		case 2:
		case 3:
			now += rng % 997;
			host_clock_set(now);
			last_fired = 0;
			timers_run(now);
			cr_assert_gt(model_next(), now, "seed %u: not all ran", seed);
			break;
		default:
			/* Few distinct times, so that equal ones occur. */
			model[i] = now + rng % 1999 / 10 * 10;
			timer_arm(&timers[i], model[i]);
			break;
		}
		cr_assert_eq(timers_next(), model_next(), "seed %u step %u", seed, step);
		cr_assert_eq(timer_armed(&timers[i]), model[i] != TIME_NEVER);
		cr_assert_eq(atomic_load(&this_pcpu()->arch.deadline_ns), model_next(),
			     "the deadline is always the earliest expiry");
	}
	cr_assert_gt(fired, 1000);
}

Test(percpu_timer, against_model)
{
	for (unsigned seed = 1; seed <= 10; seed++)
		random_operations(seed);
}

static unsigned runs;
static struct timer other;

static void periodic(struct timer *t, uint64_t now)
{
	runs++;
	timer_arm(t, now + 10);
}

static void once(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
	runs++;
}

static void disarms_other(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
	timer_disarm(&other);
}

Test(percpu_timer, rearm_from_its_own_function)
{
	struct timer t;

	host_sim_init(1);
	timer_init(&t, periodic);
	timer_arm(&t, 10);
	for (uint64_t now = 0; now <= 100; now++)
		timers_run(now);
	cr_expect_eq(runs, 10);
	timer_disarm(&t);
	timers_run(1000);
	cr_expect_eq(runs, 10);
	cr_expect_eq(atomic_load(&this_pcpu()->arch.deadline_ns), TIME_NEVER);
}

Test(percpu_timer, one_function_disarms_another_due_timer)
{
	struct timer first;

	host_sim_init(1);
	timer_init(&first, disarms_other);
	timer_init(&other, once);
	timer_arm(&first, 10);
	timer_arm(&other, 11);
	timers_run(20);
	cr_expect_eq(runs, 0, "a disarmed timer must not run");
}

Test(percpu_timer, belongs_to_the_cpu_that_armed_it)
{
	struct timer t;

	host_sim_init(2);
	timer_init(&t, once);
	timer_arm(&t, 10);
	host_become(1);
	cr_expect_eq(timers_next(), TIME_NEVER);
	if (!HOST_CATCH_PANIC()) {
		timer_disarm(&t);
		cr_expect_fail("disarming on the wrong pCPU must be noticed");
	}
	host_panic_armed = false;
	timers_run(20);
	cr_expect_eq(runs, 0);
	host_become(0);
	timers_run(20);
	cr_expect_eq(runs, 1);
}
