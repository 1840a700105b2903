/* SPDX-License-Identifier: MIT */
/*
 * The parts of the core whose races the torture run looks for, compiled with other threads coming
 * in between their steps, and, on request, with one step left out.
 */
#include <sched.h>

#include "torture.h"

static inline void sync_point(void)
{
	static _Thread_local unsigned n;

	if (++n % 31 == 0)
		sched_yield();
}

static inline bool recheck_left_out(void)
{
	return torture_variant == V_NO_RECHECK;
}

#define LEFT_OUT_word recheck_left_out()
#define LEFT_OUT_pt false
#define LEFT_OUT_guest false
#define LEFT_OUT_live false
#define SYNC_CHANGED(what, then, now) (!(LEFT_OUT_##what) && (then) != (now))
#define SYNC_POINT() sync_point()
#include "../memsvc/sync.c"
