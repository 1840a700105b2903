/* SPDX-License-Identifier: MIT */
/* BVT's promises, on the simulated machine: shares, latency, exact accounting, balance. */
#include "sched_sim.h"

#include <criterion/criterion.h>

static double share_error(uint64_t ran, double share, uint64_t elapsed)
{
	double e = (double)ran / (double)elapsed / share - 1.0;

	return e < 0 ? -e : e;
}

Test(sched, weights_on_one_cpu_within_one_percent)
{
	struct sim_unit *u[3];

	sim_init(1, 1);
	for (unsigned i = 0; i < 3; i++)
		u[i] = sim_burner(256u << i);
	sim_run(10 * NS_PER_SEC);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_lt(share_error(sim_ran(u[i]), (1 << i) / 7.0, 10 * NS_PER_SEC), 0.01,
			     "weight %u ran %lu ns", 256u << i, sim_ran(u[i]));
}

Test(sched, extreme_weights)
{
	struct sim_unit *a, *b;

	sim_init(1, 1);
	a = sim_burner(1);
	b = sim_burner(SCHED_WEIGHT_MAX);
	sim_run(2000 * NS_PER_SEC);
	/* The light one is due 30 ms of 2000 s; an allowance of slack on either side. */
	cr_expect_lt(sim_ran(a), 45 * NS_PER_MS);
	cr_expect_gt(sim_ran(a), 15 * NS_PER_MS);
	cr_expect_eq(sim_ran(a) + sim_ran(b), 2000 * NS_PER_SEC);
}

/*
 * Twelve burners on four pCPUs, weights 1:2:4, put where chance wants and then let go. Returns the
 * largest error of a share over 10 s. With @pinned they must stay: the check's own check.
 */
static double packing_error(uint32_t seed, bool pinned)
{
	struct sim_unit *u[12];
	uint64_t before[12];
	double worst = 0;

	sim_init(4, seed);
	for (unsigned i = 0; i < 12; i++) {
		struct sched_params sp = {.weight = 256u << i % 3,
					  .pin = cpumask_of(sim_random() % 4)};

		u[i] = sim_add(sp, 0, 0);
	}
	sim_run(NS_PER_MS);
	for (unsigned i = 0; i < 12 && !pinned; i++) {
		struct sched_params sp = {.weight = 256u << i % 3};

		cr_assert(sched_set_params(&u[i]->u, &sp));
	}
	sim_run(500 * NS_PER_MS);
	for (unsigned i = 0; i < 12; i++)
		before[i] = sim_ran(u[i]);
	sim_run(10 * NS_PER_SEC);
	for (unsigned i = 0; i < 12; i++) {
		double e =
			share_error(sim_ran(u[i]) - before[i], (1 << i % 3) / 7.0, 10 * NS_PER_SEC);

		if (e > worst)
			worst = e;
	}
	return worst;
}

Test(sched, twelve_on_four_within_five_percent)
{
	for (uint32_t seed = 0; seed < 100; seed++) {
		double e = packing_error(seed, false);

		cr_expect_lt(e, 0.05, "seed %u: error %.3f", seed, e);
	}
}

Test(sched, share_check_notices_imbalance)
{
	unsigned caught = 0;

	for (uint32_t seed = 0; seed < 20; seed++)
		caught += packing_error(seed, true) > 0.05;
	cr_expect_gt(caught, 15, "only %u of 20 pinned placements looked unfair", caught);
}

Test(sched, units_take_turns_without_a_perfect_packing)
{
	static const struct {
		unsigned cpus, units;
	} cases[] = {{2, 3}, {4, 5}, {4, 9}, {3, 7}, {8, 13}};

	for (unsigned c = 0; c < ARRAY_SIZE(cases); c++) {
		double share = (double)cases[c].cpus / cases[c].units;

		sim_init(cases[c].cpus, 7);
		for (unsigned i = 0; i < cases[c].units; i++)
			sim_burner(0);
		sim_run(10 * NS_PER_SEC);
		for (unsigned i = 0; i < cases[c].units; i++) {
			double e = share_error(sim_ran(&sim.units[i]), share, 10 * NS_PER_SEC);

			cr_expect_lt(e, 0.06, "%u on %u: unit %u off by %.3f", cases[c].units,
				     cases[c].cpus, i, e);
		}
	}
}

Test(sched, balanced_loads_stay_where_they_are)
{
	uint64_t moved;

	sim_init(4, 3);
	for (unsigned i = 0; i < 8; i++)
		sim_burner(0);
	sim_run(200 * NS_PER_MS);
	moved = sim_migrations();
	sim_run(5 * NS_PER_SEC);
	cr_expect_eq(sim_migrations(), moved, "%lu moves without a reason",
		     sim_migrations() - moved);
}

Test(sched, idle_cpus_steal)
{
	sim_init(8, 5);
	for (unsigned i = 0; i < 8; i++)
		sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);
	sim_run(NS_PER_MS);
	for (unsigned i = 0; i < 8; i++)
		cr_assert(sched_set_params(&sim.units[i].u, &(struct sched_params){0}));
	sim_run(200 * NS_PER_MS);
	for (unsigned c = 0; c < 8; c++)
		cr_expect_eq(pcpu_get(c)->sched.nr, 1, "cpu %u has %u units", c,
			     pcpu_get(c)->sched.nr);
}

/* An idle pCPU whose last unit blocks takes a queued one at once, not at the next balancing. */
Test(sched, becoming_idle_steals_at_once)
{
	struct sim_unit *io, *b;

	sim_init(2, 5);
	io = sim_add((struct sched_params){.pin = cpumask_of(1)}, 2 * NS_PER_MS, NS_PER_SEC);
	sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);
	b = sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);
	sim_run(NS_PER_MS);
	cr_assert(sched_set_params(&b->u, &(struct sched_params){0}));
	sim_run(NS_PER_MS + NS_PER_US);
	cr_expect_eq(unit_state_of(io), US_BLOCKED);
	cr_expect_eq(pcpu_get(1)->sched.nr, 1);
	cr_expect_eq(pcpu_get(0)->sched.nr_stolen, 1);
}

Test(sched, pins_hold)
{
	sim_init(6, 11);
	for (unsigned i = 0; i < 40; i++) {
		struct sched_params sp = {.weight = 1 + sim_random() % 1000};

		sp.pin = CPUMASK_NONE;
		for (unsigned c = 0; c < 6; c++)
			if (sim_random() % 3 == 0)
				cpumask_set(&sp.pin, c);
		if (cpumask_empty(&sp.pin))
			cpumask_set(&sp.pin, sim_random() % 6);
		sim_add(sp, i % 2 ? NS_PER_MS * (1 + sim_random() % 9) : 0, 7 * NS_PER_MS);
	}
	for (unsigned round = 0; round < 50; round++) {
		struct sim_unit *su = &sim.units[sim_random() % sim.n];
		struct sched_params sp = {.weight = 1 + sim_random() % 1000,
					  .pin = cpumask_of(sim_random() % 6)};

		sim_run(40 * NS_PER_MS);
		sched_set_params(&su->u, &sp);
		sim_settle();
	}
	for (unsigned i = 0; i < sim.n; i++) {
		cr_expect_eq(sim.units[i].bad_cpu, 0, "unit %u ran where it must not", i);
		cr_expect_gt(sim_ran(&sim.units[i]), 0);
	}
}

/* Machine time is exactly what units ran plus what was idle; each unit's states sum up, too. */
Test(sched, accounting_is_exact)
{
	for (uint32_t seed = 1; seed <= 20; seed++) {
		uint64_t ran = 0, idle = 0, elapsed;

		sim_init(3, seed);
		for (unsigned i = 0; i < 10; i++) {
			struct sched_params sp = {.weight = 1 + sim_random() % 5000,
						  .warp_us = i % 3 * 1000,
						  .warp_limit_us = i % 2 * 300};

			sim_add(sp, i % 3 ? 1 + sim_random() % 5000000 : 0,
				1 + sim_random() % 20000000);
		}
		sim_run(3 * NS_PER_SEC + sim_random());
		elapsed = sim.now - sim.start;
		for (unsigned i = 0; i < sim.n; i++) {
			struct sched_runstate rs = sched_runstate(&sim.units[i].u, sim.now);

			ran += rs.time[RUNSTATE_running];
			cr_expect_eq(rs.time[0] + rs.time[1] + rs.time[2] + rs.time[3], elapsed,
				     "seed %u unit %u", seed, i);
		}
		for (unsigned c = 0; c < 3; c++) {
			struct sched *s = &pcpu_get(c)->sched;

			idle += s->idle_ns + (s->idle_since_ns ? sim.now - s->idle_since_ns : 0);
		}
		cr_expect_eq(ran + idle, 3 * elapsed, "seed %u: %lu + %lu != %lu", seed, ran, idle,
			     3 * elapsed);
	}
}

/* Virtual time has no drift: AVT * weight is run time * scale, to the remainder. */
Test(sched, virtual_time_is_exact)
{
	struct sim_unit *a;

	sim_init(1, 1);
	a = sim_burner(777);
	sim_burner(1234);
	sim_run(7 * NS_PER_SEC + 12345);
	host_become(0);
	sim_service(0);
	cr_expect_eq(a->u.avt * 777 + a->u.vt_rem, sched_cpu_ns(&a->u) * SCHED_VT_SCALE);
}

static uint64_t io_latency(uint64_t warp_us, unsigned permille)
{
	sim_init(1, 99);
	for (unsigned i = 0; i < 6; i++)
		sim_burner(0);
	sim_add((struct sched_params){.warp_us = warp_us}, 200 * NS_PER_US, 10 * NS_PER_MS);
	sim_run(60 * NS_PER_SEC);
	cr_assert_gt(sim.nlat, 3000);
	return sim_latency(permille);
}

Test(sched, warped_io_wakes_within_the_allowance)
{
	uint64_t warped = io_latency(50000, 990);

	cr_expect_lt(warped, SCHED_ALLOWANCE_DEFAULT_NS, "p99 %lu ns", warped);
}

/* A burst beyond the unit's share is borrowed from its future by warp, else it waits its turn. */
Test(sched, warp_makes_the_difference)
{
	uint64_t plain = 0, warped = 0;

	for (unsigned with = 0; with < 2; with++) {
		sim_init(1, 5);
		for (unsigned i = 0; i < 6; i++)
			sim_burner(0);
		sim_add((struct sched_params){.warp_us = with ? 500000 : 0}, 2 * NS_PER_MS,
			4 * NS_PER_MS);
		sim_run(500 * NS_PER_MS);
		if (with)
			warped = sim_latency(500);
		else
			plain = sim_latency(500);
	}
	cr_expect_gt(plain, SCHED_ALLOWANCE_DEFAULT_NS);
	cr_expect_lt(warped, plain / 4, "median %lu ns with, %lu ns without", warped, plain);
}

/* A warped unit that never blocks gets ahead by its warp once, then only its share. */
Test(sched, warp_does_not_buy_a_larger_share)
{
	struct sim_unit *w;

	sim_init(1, 2);
	sim_burner(0);
	w = sim_add((struct sched_params){.warp_us = 100000}, 0, 0);
	sim_run(10 * NS_PER_SEC);
	cr_expect_lt(share_error(sim_ran(w), 0.5, 10 * NS_PER_SEC), 0.015, "ran %lu", sim_ran(w));
}

Test(sched, warp_time_limit_and_unwarp_time)
{
	struct sim_unit *w;

	/* W so large that without L the other would not run for seconds. */
	sim_init(1, 2);
	sim_burner(0);
	w = sim_add((struct sched_params){.warp_us = 3000000,
					  .warp_limit_us = 20000,
					  .unwarp_us = 500000},
		    30 * NS_PER_MS, 30 * NS_PER_MS);
	sim_run(20 * NS_PER_MS - NS_PER_US);
	cr_expect(w->u.warped);
	sim_run(2 * NS_PER_US);
	cr_expect_not(w->u.warped, "warped for longer than L");
	/* Within U it wakes unwarped. */
	for (unsigned i = 0; i < 400; i++) {
		sim_run(NS_PER_MS);
		cr_assert_not(w->u.warped && sim.now - sim.start < 500 * NS_PER_MS);
	}
	/* After U it is warped again when it wakes. */
	bool again = false;

	for (unsigned i = 0; i < 400 && !again; i++) {
		sim_run(NS_PER_MS);
		again = w->u.warped;
	}
	cr_expect(again, "not warped again after U");
}

/* The allowance bounds how often burners are switched. */
Test(sched, allowance_bounds_switches)
{
	sim_init(1, 2);
	sched_set_allowance(10 * NS_PER_MS);
	for (unsigned i = 0; i < 4; i++)
		sim_burner(0);
	sim_run(10 * NS_PER_SEC);
	cr_expect_leq(pcpu_get(0)->sched.nr_switches, 1001);
	cr_expect_geq(pcpu_get(0)->sched.nr_switches, 400);
}

/* A sleeper does not save up: after 5 s of sleep it gets half, not the 5 s it missed. */
Test(sched, sleep_earns_no_credit)
{
	struct sim_unit *a, *b;
	uint64_t before;

	sim_init(1, 2);
	a = sim_burner(0);
	b = sim_add((struct sched_params){0}, NS_PER_MS, 10 * NS_PER_SEC);
	sim_run(4 * NS_PER_SEC);
	cr_assert_eq(unit_state_of(b), US_BLOCKED);
	b->burst_ns = 0;
	b->wake_at = sim.now;
	before = sim_ran(a);
	sim_run(2 * NS_PER_SEC);
	cr_expect_lt(share_error(sim_ran(a) - before, 0.5, 2 * NS_PER_SEC), 0.01);
}

/* Virtual time is carried over: who moves is neither ahead of nor behind its new neighbours. */
Test(sched, a_move_keeps_the_claim)
{
	struct sim_unit *m;
	uint64_t before[3];

	sim_init(2, 2);
	m = sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);
	sim_add((struct sched_params){.pin = cpumask_of(0), .weight = 4096}, 0, 0);
	sim_add((struct sched_params){.pin = cpumask_of(1)}, 0, 0);
	sim_run(20 * NS_PER_SEC); /* the two queues' virtual times are far apart now */
	cr_assert(sched_set_params(&m->u, &(struct sched_params){.pin = cpumask_of(1)}));
	sim_settle();
	for (unsigned i = 0; i < 3; i++)
		before[i] = sim_ran(&sim.units[i]);
	sim_run(NS_PER_SEC);
	cr_expect_eq(m->u.nr_migrations, 1);
	cr_expect_lt(share_error(sim_ran(m) - before[0], 0.5, NS_PER_SEC), 0.2);
	cr_expect_lt(share_error(sim_ran(&sim.units[2]) - before[2], 0.5, NS_PER_SEC), 0.2);
}

Test(sched, yield_lets_others_go_first)
{
	struct sim_unit *a, *b;

	sim_init(1, 2);
	a = sim_burner(0);
	b = sim_burner(0);
	sim_run(NS_PER_MS);
	cr_assert_eq(pcpu_get(0)->sched.cur, &a->u);
	sched_yield_current();
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.cur, &b->u);
	/* Alone, yielding is harmless. */
	sim_init(1, 2);
	a = sim_burner(0);
	sim_run(NS_PER_MS);
	sched_yield_current();
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.cur, &a->u);
}

/* 25 units per pCPU. */
Test(sched, one_hundred_units)
{
	sim_init(4, 17);
	for (unsigned i = 0; i < 100; i++)
		sim_burner(0);
	sim_run(20 * NS_PER_SEC);
	for (unsigned i = 0; i < 100; i++)
		cr_expect_lt(share_error(sim_ran(&sim.units[i]), 0.04, 20 * NS_PER_SEC), 0.05,
			     "unit %u ran %lu", i, sim_ran(&sim.units[i]));
}
