/* SPDX-License-Identifier: MIT */
/* Sleeps for `secs` on all vCPUs but with nothing to do, then powers off. */
#include "roles/roles.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"

void role_idle(void)
{
	uint64_t t0 = time_ns(), secs = arg_num("secs", 1), rs[4];

	smp_up_all();
	sleep_until(t0 + secs * 1000000000ULL);
	runstate_read(rs);
	role_pass("secs=%lu running_ns=%lu blocked_ns=%lu", secs, rs[RUNSTATE_running],
		  rs[RUNSTATE_blocked]);
}
