/* SPDX-License-Identifier: MIT */
/*
 * Named per-pCPU counters. What contention costs is counted apart: contention.h.
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

/** counters_visit() - call @fn for each registered counter with its total. */
void counters_visit(void (*fn)(const char *name, uint64_t value, void *arg), void *arg);

#endif
