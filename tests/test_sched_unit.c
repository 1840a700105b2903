/* SPDX-License-Identifier: MIT */
/* The protocol around a unit's state: wakes and blocks, stop, park, parameters, in all orders. */
#include "sched_sim.h"

#include <criterion/criterion.h>

static void stopped(struct sched_unit *u)
{
	struct sim_unit *su = container_of(u, struct sim_unit, u);

	cr_expect_neq(this_pcpu()->sched.cur, u, "declared stopped while current");
	cr_expect_eq(unit_state_of(su), US_OFF);
	su->stops++;
}

static struct sim_unit *running_unit(unsigned cpus)
{
	struct sim_unit *su;

	sim_init(cpus, 1);
	su = sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);
	sim_settle();
	cr_assert_eq(pcpu_get(0)->sched.cur, &su->u);
	return su;
}

Test(sched_unit, wake_before_block_is_not_lost)
{
	struct sim_unit *su = running_unit(2);

	/* The guest has looked for events, found none; now one comes from pCPU 1 ... */
	host_become(1);
	sched_wake(&su->u);
	/* ... and only then it blocks. */
	host_become(0);
	cr_expect_not(sched_block_current());
	cr_expect_eq(unit_state_of(su), US_RUNNING);
	/* The next block, with nothing new, takes effect. */
	cr_expect(sched_block_current());
	sim_settle();
	cr_expect_eq(unit_state_of(su), US_BLOCKED);
	cr_expect_eq(su->u.rs.state, RUNSTATE_blocked);
}

Test(sched_unit, wake_after_block_before_switch)
{
	struct sim_unit *su = running_unit(2);

	cr_assert(sched_block_current());
	host_become(1);
	sched_wake(&su->u);
	sim_settle();
	cr_expect_eq(unit_state_of(su), US_RUNNING);
	cr_expect_eq(pcpu_get(0)->sched.cur, &su->u);
	cr_expect_eq(pcpu_get(0)->sched.nr, 1);
}

Test(sched_unit, wake_after_switch)
{
	struct sim_unit *su = running_unit(2);

	cr_assert(sched_block_current());
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.nr, 0);
	host_become(1);
	sched_wake(&su->u);
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.cur, &su->u);
}

/* What the protocol is for: the same interleaving with a block that ignores the flag hangs. */
Test(sched_unit, block_that_ignores_wakes_is_caught)
{
	struct sim_unit *su = running_unit(2);
	uint32_t st;

	host_become(1);
	sched_wake(&su->u);
	host_become(0);
	/* The broken block: state set without looking at UF_WAKE. */
	st = atomic_load(&su->u.state);
	atomic_store(&su->u.state, (st & ~(uint32_t)(US_MASK | UF_WAKE)) | US_BLOCKED);
	this_pcpu()->work |= WORK_RESCHED;
	sim_settle();
	cr_expect_eq(unit_state_of(su), US_BLOCKED, "this variant should have lost the wake");
}

Test(sched_unit, one_message_and_one_kick_for_many_wakes)
{
	struct sim_unit *su = running_unit(2);
	uint64_t kicks;

	cr_assert(sched_block_current());
	sim_settle();
	kicks = atomic_load(&pcpu_get(0)->arch.kicks);
	host_become(1);
	for (unsigned i = 0; i < 100; i++)
		sched_wake(&su->u);
	cr_expect_eq(atomic_load(&pcpu_get(0)->arch.kicks), kicks + 1);
	sim_settle();
	cr_expect_eq(unit_state_of(su), US_RUNNING);
}

Test(sched_unit, waking_a_running_unit_brings_its_cpu_out)
{
	struct sim_unit *su = running_unit(2);
	uint64_t kicks = atomic_load(&pcpu_get(0)->arch.kicks);

	host_become(1);
	sched_wake(&su->u);
	cr_expect_eq(atomic_load(&pcpu_get(0)->arch.kicks), kicks + 1);
	host_become(0);
	this_pcpu()->work = 0;
	inbox_drain();
	cr_expect(this_pcpu()->work & WORK_EVENT);
	cr_expect(sched_block_current(), "the wake was acted on: it does not count again");
}

Test(sched_unit, waking_a_queued_unit_costs_nothing)
{
	struct sim_unit *a = running_unit(2), *b;
	uint64_t kicks;

	b = sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);
	sim_settle();
	cr_assert_eq(unit_state_of(b), US_QUEUED);
	kicks = atomic_load(&pcpu_get(0)->arch.kicks);
	host_become(1);
	sched_wake(&b->u);
	cr_expect_eq(atomic_load(&pcpu_get(0)->arch.kicks), kicks);
	cr_expect_not(inbox_pending(&pcpu_get(0)->inbox));
	(void)a;
}

Test(sched_unit, waking_an_off_unit_does_nothing)
{
	static struct sched_unit u;

	sim_init(1, 1);
	sched_unit_init(&u, &(struct sched_params){0}, sim.now);
	sched_wake(&u);
	sim_settle();
	cr_expect_null(pcpu_get(0)->sched.cur);
	sched_unit_start(&u);
	host_become(0);
	inbox_drain();
	cr_expect_eq(sched_pick(sim.now), &u);
}

Test(sched_unit, stop_in_every_state)
{
	struct sim_unit *su = running_unit(2);

	/* Current. */
	host_become(1);
	sched_unit_stop(&su->u, stopped);
	sched_unit_stop(&su->u, stopped);
	sim_settle();
	cr_expect_eq(su->stops, 1);
	cr_expect_eq(su->u.rs.state, RUNSTATE_offline);
	cr_expect_eq(pcpu_get(0)->sched.nr, 0);

	/* Queued. */
	running_unit(2);
	struct sim_unit *q = sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);

	sim_settle();
	sched_unit_stop(&q->u, stopped);
	sim_settle();
	cr_expect_eq(q->stops, 1);
	cr_expect_eq(pcpu_get(0)->sched.nr, 1);
	cr_expect_eq(pcpu_get(0)->sched.weight, 256);

	/* Blocked, with a wake on its way. */
	su = running_unit(2);
	cr_assert(sched_block_current());
	sim_settle();
	host_become(1);
	sched_wake(&su->u);
	sched_unit_stop(&su->u, stopped);
	sim_settle();
	cr_expect_eq(su->stops, 1);
	cr_expect_eq(pcpu_get(0)->sched.nr, 0);

	/* Blocked, stop first: it waits for the message that is still in the inbox. */
	su = running_unit(2);
	cr_assert(sched_block_current());
	sim_settle();
	host_become(1);
	sched_unit_stop(&su->u, stopped);
	sched_wake(&su->u);
	sim_settle();
	cr_expect_eq(su->stops, 1);
	cr_expect_eq(atomic_load(&su->u.state) & UF_MSG, 0);

	/* On its way to another pCPU. */
	sim_init(2, 1);
	su = sim_add((struct sched_params){.pin = cpumask_of(1)}, 0, 0);
	cr_assert_eq(unit_state_of(su), US_MOVING);
	sched_unit_stop(&su->u, stopped);
	sim_settle();
	cr_expect_eq(su->stops, 1);
	cr_expect_eq(atomic_load(&pcpu_get(1)->load.inbound), 0);

	/* Never started; and then it can't be. */
	sim_init(1, 1);
	su = &sim.units[sim.n++];
	sched_unit_init(&su->u, &(struct sched_params){0}, sim.now);
	su->wake_at = TIME_NEVER;
	sched_unit_stop(&su->u, stopped);
	sched_unit_start(&su->u);
	sim_settle();
	cr_expect_eq(su->stops, 1);
	cr_expect_null(pcpu_get(0)->sched.cur);
}

Test(sched_unit, a_stopped_unit_can_start_anew)
{
	struct sim_unit *su = running_unit(1);

	sched_unit_stop(&su->u, stopped);
	sim_settle();
	cr_assert_eq(su->stops, 1);
	sched_unit_init(&su->u, &(struct sched_params){0}, sim.now);
	sched_unit_start(&su->u);
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.cur, &su->u);
}

Test(sched_unit, parked_units_ignore_wakes)
{
	struct sim_unit *su = running_unit(2);

	sched_park_current();
	sim_settle();
	cr_expect_eq(su->u.rs.state, RUNSTATE_offline);
	host_become(1);
	sched_wake(&su->u);
	sim_settle();
	cr_expect_null(pcpu_get(0)->sched.cur);
	host_become(1);
	sched_unit_start(&su->u);
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.cur, &su->u);
	cr_expect_eq(su->u.rs.state, RUNSTATE_running);
	/* Started just before it parks: not lost either. */
	host_become(1);
	sched_unit_start(&su->u);
	host_become(0);
	inbox_drain();
	sched_park_current();
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.cur, &su->u);
	/* A parked unit can be stopped. */
	sched_park_current();
	sim_settle();
	sched_unit_stop(&su->u, stopped);
	sim_settle();
	cr_expect_eq(su->stops, 1);
}

Test(sched_unit, parameters_change_while_running)
{
	struct sim_unit *a, *b;
	uint64_t before;

	sim_init(1, 1);
	a = sim_burner(256);
	b = sim_burner(256);
	sim_run(NS_PER_SEC);
	cr_assert(sched_set_params(&a->u, &(struct sched_params){.weight = 768}));
	cr_expect_not(sched_set_params(&a->u, &(struct sched_params){0}), "one is under way");
	sim_settle();
	cr_expect_eq(pcpu_get(0)->sched.weight, 1024);
	before = sim_ran(a);
	sim_run(4 * NS_PER_SEC);
	cr_expect_gt(sim_ran(a) - before, 2950 * NS_PER_MS);
	cr_expect_lt(sim_ran(a) - before, 3050 * NS_PER_MS);
	(void)b;
}

static unsigned outs, ins;
static unsigned out_cpu, in_cpu;

static void migrate_out(struct sched_unit *u)
{
	outs++;
	out_cpu = this_pcpu()->id;
	cr_expect_neq(this_pcpu()->sched.cur, u);
}

static void migrate_in(struct sched_unit *u)
{
	(void)u;
	ins++;
	in_cpu = this_pcpu()->id;
}

static uint64_t hook_time[4];

static void runstate_changed(struct sched_unit *u, int old, uint64_t now)
{
	cr_expect_eq(u->rs.entry_ns, now);
	cr_expect_neq(u->rs.state, old);
	hook_time[old] = u->rs.time[old];
}

Test(sched_unit, hooks)
{
	static const struct sched_hooks hooks = {migrate_out, migrate_in, runstate_changed};
	struct sim_unit *su;

	sim_init(2, 1);
	sched_set_hooks(&hooks);
	su = sim_add((struct sched_params){.pin = cpumask_of(0)}, 0, 0);
	sim_run(NS_PER_MS);
	cr_expect_eq(outs + ins, 0, "a start is no migration");
	cr_assert(sched_set_params(&su->u, &(struct sched_params){.pin = cpumask_of(1)}));
	sim_run(NS_PER_MS);
	cr_expect_eq(outs, 1);
	cr_expect_eq(ins, 1);
	cr_expect_eq(out_cpu, 0);
	cr_expect_eq(in_cpu, 1);
	cr_expect_eq(pcpu_get(1)->sched.cur, &su->u);
	cr_expect_eq(hook_time[RUNSTATE_running], NS_PER_MS);
}

Test(sched_unit, a_blocked_unit_with_a_new_pin_wakes_there)
{
	struct sim_unit *su = running_unit(3);

	cr_assert(sched_block_current());
	sim_settle();
	cr_assert(sched_set_params(&su->u, &(struct sched_params){.pin = cpumask_of(2)}));
	sim_settle();
	host_become(1);
	sched_wake(&su->u);
	sim_settle();
	cr_expect_eq(pcpu_get(2)->sched.cur, &su->u);
}

Test(sched_unit, a_pin_without_any_online_cpu_means_all)
{
	struct sim_unit *su;

	sim_init(2, 1);
	su = sim_add((struct sched_params){.pin = cpumask_of(77)}, 0, 0);
	sim_settle();
	cr_expect_eq(unit_state_of(su), US_RUNNING);
}
