/* SPDX-License-Identifier: MIT */
/*
 * Runs each pair of the operations of commute.h, one on each of two vCPUs, in windows that the
 * profiler sees (rt/mark.h). Two ways: `sides=one`, both are vCPUs 0 and 1 of this domain; `sides=two`
 * with `side=0` or `side=1`, the other one is in another domain that runs the same role, and both
 * go by the system's time: pair k has the time from from_ms + k * slot_us on.
 *
 * Other arguments: `only=NAME` pairs with this operation only.
 */
#include "roles/commute.h"
#include "roles/roles.h"
#include "rt/mark.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include <stdatomic.h>

static struct side sides[COMMUTE_SIDES];
bool commute_two;
static _Atomic unsigned int arrived;

static unsigned int op_of[COMMUTE_SIDES]; /* what each runs now */

/* All sides of this domain are here; @turn counts the meetings. */
static void meet(unsigned int turn)
{
	atomic_fetch_add(&arrived, 1);
	while (!commute_two && atomic_load(&arrived) < COMMUTE_SIDES * turn)
		cpu_relax();
}

static void run_side(void *arg)
{
	struct side *s = arg;
	const struct commute_op *op = &commute_ops[op_of[s->id]];
	void *state = s->state[op_of[s->id]];
	unsigned int i = 0;

	if (op->begin)
		op->begin(s, state);
	for (; i < COMMUTE_WARM; i++)
		op->run(s, state, i);
	meet(1);
	mark_open(op_of[s->id]);
	for (; i < COMMUTE_RUNS; i++)
		op->run(s, state, i);
	mark_close(op_of[s->id]);
	meet(2);
	if (op->end)
		op->end(s, state);
}

static void init_side(void *arg)
{
	struct side *s = arg;

	for (unsigned int i = 0; i < commute_nr_ops; i++)
		if (commute_ops[i].init)
			s->state[i] = commute_ops[i].init(s);
}

static void pair_in_one(unsigned int a, unsigned int b, unsigned int number)
{
	op_of[0] = a;
	op_of[1] = b;
	atomic_store(&arrived, 0);
	smp_call(1, run_side, &sides[1]);
	run_side(&sides[0]);
	smp_wait(1);
	mark_record(number);
}

static void pair_in_two(struct side *s, unsigned int op, unsigned int number, uint64_t start,
			uint64_t slot)
{
	sleep_until(start);
	op_of[s->id] = op;
	run_side(s);
	CHECK(time_ns() < start + slot - slot / 8, "slot_us is too short for %s",
	      commute_ops[op].name);
	if (s->id == 0) {
		sleep_until(start + slot - slot / 8);
		mark_record(number);
	}
}

static bool wanted(unsigned int a, unsigned int b, unsigned int where)
{
	const struct commute_op *x = &commute_ops[a], *y = &commute_ops[b];
	const char *only = arg_str("only", "");

	if (!(x->where & y->where & where))
		return false;
	if ((x->where | y->where) & IN_ITSELF)
		return a == b;
	return !*only || !strcmp(only, x->name) || !strcmp(only, y->name);
}

void role_commute(void)
{
	unsigned int own = (unsigned int)arg_num("side", 0), number = 0, where;
	uint64_t start = arg_num("from_ms", 500) * 1000000, slot = arg_num("slot_us", 20000) * 1000;

	commute_two = !strcmp(arg_str("sides", "one"), "two");
	where = commute_two ? IN_TWO : IN_ONE;
	CHECK(own < COMMUTE_SIDES, "side=%u", own);
	CHECK(nr_cpus >= (commute_two ? 2 : 4), "vcpus=%u", nr_cpus);
	smp_up_all();
	commute_mem_prepare();
	for (unsigned int i = 0; i < COMMUTE_SIDES; i++) {
		sides[i].id = i;
		sides[i].target = commute_two ? 1 : 2 + i;
	}
	init_side(&sides[own]);
	if (!commute_two) {
		smp_call(1, init_side, &sides[1]);
		smp_wait(1);
	}
	for (unsigned int i = 0; i < commute_nr_ops; i++)
		if (!commute_two || !own)
			printf("commute: op %u %s\n", i, commute_ops[i].name);
	CHECK(!commute_two || time_ns() < start, "from_ms is too early");
	mark_forget();
	for (unsigned int a = 0; a < commute_nr_ops; a++) {
		for (unsigned int b = a; b < commute_nr_ops; b++) {
			if (!wanted(a, b, where))
				continue;
			if (commute_two)
				pair_in_two(&sides[own], own ? b : a, number, start + number * slot,
					    slot);
			else
				pair_in_one(a, b, number);
			number++;
		}
	}
	role_pass("pairs=%u", number);
}
