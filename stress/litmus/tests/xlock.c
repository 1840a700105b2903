/* SPDX-License-Identifier: MIT */
/* percpu/xlock.h: the ticket lock. */
#include "core/host/host.h"
#include "percpu/xlock.h"
#include "stress/litmus/litmus.h"

XLOCK(lock, "litmus");
static unsigned count, tries;

static void setup(void)
{
	host_sim_init(3);
}

static void thread(unsigned me)
{
	if (me < 2) {
		xlock_lock(&lock);
	} else if (!xlock_trylock(&lock)) {
		return;
	} else {
		tries++;
	}
	count++;
	xlock_unlock(&lock);
}

static void check(void)
{
	LITMUS_ASSERT(count == 2 + tries);
}

LITMUS(xlock, "xlock", "one holder at a time, who sees what the last one did", 3, 0, setup, thread,
       check);
