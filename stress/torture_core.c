/* SPDX-License-Identifier: MIT */
/*
 * The parts of the core whose races the torture run looks for, compiled with other threads coming
 * in between their steps, and, on request, with one step left out.
 */
#include <sched.h>
#include <unistd.h>

#include "torture.h"

static inline void sync_point(void)
{
	static _Thread_local unsigned n;

	if (++n % 31 == 0)
		sched_yield();
	if (tc.slow && n % 97 == 0)
		usleep(500);
}

/* A pCPU may stand still for long: an SMI, or its host runs something else. */
static inline void stand_still(void)
{
	static _Thread_local unsigned n;

	if (tc.calm && !tc.slow)
		return;
	if (++n % (tc.slow ? 2 : 16) == 0)
		usleep(1000);
	else if (n % 4 == 0)
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

/* A break step by step; "early-alias": the name is plain private before the flush. */
#define STEP_break_clear(action) action
#define STEP_break_flush(action)                                                      \
	do {                                                                          \
		if (torture_variant == V_EARLY_ALIAS)                                 \
			word_cas(rec, word, p2m_reflag(word, 0, P2M_RO | P2M_BREAK)); \
		stand_still();                                                        \
		action;                                                               \
	} while (0)
#define NAME_STEP(what, action) STEP_##what(action)
#include "../memsvc/name.c"

/* A sharer or swapper may stand still between its change of the word and what follows. */
#define rmap_clear_all(mm, rec, gfn, m)            \
	do {                                       \
		stand_still();                     \
		(rmap_clear_all)(mm, rec, gfn, m); \
	} while (0)
#include "../memsvc/name_share.c"
