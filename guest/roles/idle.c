/* SPDX-License-Identifier: MIT */
/*
 * Sleeps for `secs` on all vCPUs but with nothing to do, then powers off. With
 * `touch`, it first fills so many MiB. It holds on to them and fills what it gets back, but can do
 * without them when its balloon is asked for more; at the end it looks whether
 * the rest is as it was.
 */
#include "roles/roles.h"
#include "roles/set.h"
#include "rt/balloon.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"

#define NS 1000000000ULL
#define LOOK_NS (NS / 10) /* how often it looks at the balloon */

void role_idle(void)
{
	uint64_t end = time_ns() + arg_num("secs", 1) * NS, rs[4];
	unsigned long pages = arg_num("touch", 0) * 256;

	smp_up_all();
	if (pages) {
		set_init(pages, arg_num("seed", rdtsc()));
		printf("mini: idle ready t_ms=%lu held_pages=%lu\n", time_ns() / 1000000,
		       set_size());
	}
	while (pages && time_ns() < end) {
		uint64_t next = time_ns() + LOOK_NS;

		sleep_until(next < end ? next : end);
		set_follow(pages);
	}
	sleep_until(end);
	for (unsigned long i = 0; i < set_size(); i++)
		set_verify(i);
	runstate_read(rs);
	role_pass("secs=%lu running_ns=%lu blocked_ns=%lu held_pages=%lu ballooned_pages=%lu",
		  arg_num("secs", 1), rs[RUNSTATE_running], rs[RUNSTATE_blocked], set_size(),
		  balloon_pages());
}
