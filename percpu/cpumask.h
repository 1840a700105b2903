/* SPDX-License-Identifier: MIT */
/*
 * Sets of pCPUs: 256 bits. The plain operations are for masks that one pCPU owns; the _atomic ones
 * are for masks that several pCPUs change (each such mask has its ordering explained at its use;
 * every _atomic operation here is sequentially consistent unless its name says relaxed).
 */
#ifndef PERCPU_CPUMASK_H
#define PERCPU_CPUMASK_H

#include "core/types.h"

#define CPUMASK_BITS 256
#define CPUMASK_WORDS (CPUMASK_BITS / 64)

typedef struct cpumask {
	uint64_t w[CPUMASK_WORDS];
} cpumask_t;

typedef struct atomic_cpumask {
	_Atomic uint64_t w[CPUMASK_WORDS];
} atomic_cpumask_t;

#define CPUMASK_ALL ((cpumask_t){{~0ULL, ~0ULL, ~0ULL, ~0ULL}})
#define CPUMASK_NONE ((cpumask_t){{0, 0, 0, 0}})

static inline void cpumask_zero(cpumask_t *m)
{
	*m = CPUMASK_NONE;
}

static inline void cpumask_set(cpumask_t *m, unsigned cpu)
{
	m->w[cpu / 64] |= 1ULL << (cpu % 64);
}

static inline void cpumask_clear(cpumask_t *m, unsigned cpu)
{
	m->w[cpu / 64] &= ~(1ULL << (cpu % 64));
}

static inline bool cpumask_test(const cpumask_t *m, unsigned cpu)
{
	return m->w[cpu / 64] >> (cpu % 64) & 1;
}

static inline bool cpumask_empty(const cpumask_t *m)
{
	return !(m->w[0] | m->w[1] | m->w[2] | m->w[3]);
}

static inline unsigned cpumask_weight(const cpumask_t *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		for (uint64_t x = m->w[i]; x; x &= x - 1)
			n++;
	return n;
}

static inline cpumask_t cpumask_of(unsigned cpu)
{
	cpumask_t m = CPUMASK_NONE;

	cpumask_set(&m, cpu);
	return m;
}

static inline bool cpumask_equal(const cpumask_t *a, const cpumask_t *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

/** cpumask_next() - the first member >= @from, or CPUMASK_BITS. */
static inline unsigned cpumask_next(const cpumask_t *m, unsigned from)
{
	for (unsigned i = from / 64; i < CPUMASK_WORDS; i++) {
		uint64_t x = m->w[i];

		if (i == from / 64)
			x &= ~0ULL << (from % 64);
		if (x)
			return i * 64 + (unsigned)__builtin_ctzll(x);
	}
	return CPUMASK_BITS;
}

/** for_each_cpu_in() - @cpu (unsigned) runs over the members of *@m in ascending order. */
#define for_each_cpu_in(cpu, m)                                  \
	for ((cpu) = cpumask_next((m), 0); (cpu) < CPUMASK_BITS; \
	     (cpu) = cpumask_next((m), (cpu) + 1))

/** cpumask_set_atomic() - add @cpu; returns whether it was a member before. Full barrier. */
static inline bool cpumask_set_atomic(atomic_cpumask_t *m, unsigned cpu)
{
	uint64_t bit = 1ULL << (cpu % 64);

	return atomic_fetch_or(&m->w[cpu / 64], bit) & bit;
}

/** cpumask_clear_atomic() - remove @cpu; returns whether it was a member before. Full barrier. */
static inline bool cpumask_clear_atomic(atomic_cpumask_t *m, unsigned cpu)
{
	uint64_t bit = 1ULL << (cpu % 64);

	return atomic_fetch_and(&m->w[cpu / 64], ~bit) & bit;
}

/** cpumask_test_relaxed() - membership now, without ordering. */
static inline bool cpumask_test_relaxed(atomic_cpumask_t *m, unsigned cpu)
{
	return atomic_load_explicit(&m->w[cpu / 64], memory_order_relaxed) >> (cpu % 64) & 1;
}

/** cpumask_snapshot() - copy word by word (acquire each); not one atomic picture of all words. */
static inline cpumask_t cpumask_snapshot(atomic_cpumask_t *m)
{
	cpumask_t r;

	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		r.w[i] = atomic_load_explicit(&m->w[i], memory_order_acquire);
	return r;
}

#endif
