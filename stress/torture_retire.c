/* SPDX-License-Identifier: MIT */
/* Retirement of frames as in percpu/retire.c, or without its grace period. */
#include "percpu/rcu.h"
#include "torture.h"

static void after_gp(struct rcu_head *head, void (*fn)(struct rcu_head *head))
{
	if (torture_variant == V_EARLY_FREE)
		fn(head);
	else
		call_rcu_hurry(head, fn);
}

#define call_rcu_hurry after_gp
#include "../percpu/retire.c"
