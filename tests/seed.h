/* SPDX-License-Identifier: MIT */
/*
 * Where a randomized test begins: $SEED to repeat a run, else the time; printed either way. And how
 * it goes on.
 */
#ifndef TESTS_SEED_H
#define TESTS_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t seed_from_env(void)
{
	const char *s = getenv("SEED");
	uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);

	printf("# SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* The next of a sequence that @s holds: near seeds give unlike sequences (splitmix64's steps). */
static inline uint64_t seed_next(uint64_t *s)
{
	uint64_t x = *s += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* The next one below @n. */
static inline unsigned seed_to(uint64_t *s, unsigned n)
{
	return (unsigned)((seed_next(s) >> 11) % n);
}

#endif
