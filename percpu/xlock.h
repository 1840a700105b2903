/* SPDX-License-Identifier: MIT */
/*
 * The one lock that this code may use, for the rare place that cannot do without: a ticket lock,
 * FIFO, so waiting is bounded. Each lock is a contention site (contention.h) with its own name.
 * Orders: taking the ticket is relaxed, the wait acquires what unlock released. PAIRS: xlock.
 */
#ifndef PERCPU_XLOCK_H
#define PERCPU_XLOCK_H

#include "percpu/contention.h"

#define LOCK_HOLD_EVERY 64 /* one of so many acquisitions on a pCPU is timed to its release */

struct xlock {
	_Atomic uint32_t next CACHE_ALIGNED;
	_Atomic uint32_t owner;
	uint64_t since; /* the holder's: when it was taken, or 0 */
	const struct contention_site *site;
};

/** XLOCK() - define lock @var, file scope, counted under the name @label. */
#define XLOCK(var, label)                                               \
	static const struct contention_site var##_site SITE_SECTION = { \
		.name = (label),                                        \
		.file = __FILE__,                                       \
		.line = __LINE__,                                       \
		.kind = SITE_LOCK,                                      \
	};                                                              \
	static struct xlock var = {.site = &var##_site}

/** xlock_lock() - any context with interrupts off. */
void xlock_lock(struct xlock *l);
/** xlock_trylock() - true when taken; only then it counts. */
bool xlock_trylock(struct xlock *l);
void xlock_unlock(struct xlock *l);

#endif
