/* SPDX-License-Identifier: MIT */
/* percpu/qsbr.h and percpu/rcu.h: an object is replaced while others read it and come and go. */
#include "core/host/host.h"
#include "percpu/rcu.h"
#include "stress/litmus/litmus.h"

static struct object {
	struct rcu_head head;
	unsigned value;
	bool freed;
} object[2];

static struct object *current;

static void setup(void)
{
	host_sim_init(2);
	object[0].value = 1;
	current = &object[0];
	/* Thread 1 comes online by itself. */
	host_become(1);
	rcu_thread_offline();
	host_become(0);
}

static void gone(struct rcu_head *h)
{
	struct object *o = container_of(h, struct object, head);

	o->freed = true;
	o->value = 0;
}

static void read_it(void)
{
	struct object *o = rcu_dereference(current);

	LITMUS_ASSERT(!o->freed && o->value == (unsigned)(o - object) + 1);
}

static void thread(unsigned me)
{
	if (me == 1) {
		rcu_thread_online();
		read_it();
		rcu_quiescent_state();
		read_it();
		rcu_thread_offline();
		return;
	}
	object[1].value = 2;
	rcu_assign_pointer(current, &object[1]);
	call_rcu_hurry(&object[0].head, gone);
	rcu_poll();
	/* In place of the timer that polls. */
	while (rcu_pending()) {
		cpu_relax();
		rcu_poll();
	}
}

static void check(void)
{
	LITMUS_ASSERT(object[0].freed && !object[1].freed);
}

LITMUS(qsbr, "rcu", "no reader sees an object after its grace period, or before it is whole", 2, 0,
       setup, thread, check);
