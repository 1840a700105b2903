/* SPDX-License-Identifier: MIT */
/*
 * Named per-pCPU counters, and the few locks that remain, each with its name and contention count.
 *
 * A counter has one slot in each pCPU's private part, so counting touches no shared line; readers
 * sum the slots (relaxed: each value is one that the slot had).
 */
#ifndef PERCPU_COUNTERS_H
#define PERCPU_COUNTERS_H

#include "core/types.h"

#define MAX_COUNTERS 128

struct counter {
	const char *name;
	unsigned slot; /* 0: not registered; counts go to a slot nobody reads */
};

/* A pCPU's slots; written by that pCPU only. */
struct pcpu_counters {
	_Atomic uint64_t v[MAX_COUNTERS];
};

/** counter_register() - give @c a slot; idempotent, any pCPU. Panics when there are none left. */
void counter_register(struct counter *c);

/** counter_add() - on this pCPU. Any context. Follows struct pcpu, see pcpu.h. */
static inline void counter_add(const struct counter *c, uint64_t n);
static inline void counter_inc(const struct counter *c)
{
	counter_add(c, 1);
}

/** counter_sum() - total over all pCPUs. */
uint64_t counter_sum(const struct counter *c);

/** counters_visit() - call @fn for each registered counter with its total, then for each lock. */
void counters_visit(void (*fn)(const char *name, uint64_t value, void *arg), void *arg);

/*
 * Ticket lock for the rare places that cannot do without; FIFO, so bounded waiting.
 * Orders: taking the ticket is relaxed, the wait acquires what unlock released. PAIRS: xlock.
 */
struct xlock {
	_Atomic uint32_t next CACHE_ALIGNED;
	_Atomic uint32_t owner;
	_Atomic uint64_t contended; /* acquisitions that had to wait; written by the holder */
	const char *name;
	struct xlock *_Atomic link; /* list of registered locks */
	_Atomic bool registered;
};

#define XLOCK_INIT(n)       \
	{                   \
		.name = (n) \
	}

/** xlock_lock() - any context with interrupts off; registers the lock at its first use. */
void xlock_lock(struct xlock *l);
/** xlock_trylock() - true when taken. */
bool xlock_trylock(struct xlock *l);
void xlock_unlock(struct xlock *l);

#endif
