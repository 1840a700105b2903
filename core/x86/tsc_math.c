/* SPDX-License-Identifier: MIT */
/* Arithmetic of time: no division wider than the CPU's own. */
#include "core/x86/tsc.h"

uint64_t tsc_mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 p = (unsigned __int128)a * b;
	uint64_t lo = (uint64_t)p, hi = (uint64_t)(p >> 64);

	if (hi >= c) /* also c == 0: the quotient does not fit */
		return UINT64_MAX;
	__asm__("divq %2" : "+a"(lo), "+d"(hi) : "r"(c) : "cc");
	return lo;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar, years counted from March. */
static uint64_t days(unsigned year, unsigned mon, unsigned day)
{
	unsigned y = mon <= 2 ? year - 1 : year;
	unsigned m = mon <= 2 ? mon + 9 : mon - 3;

	return 365ULL * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

uint64_t tsc_unix_time(unsigned year, unsigned mon, unsigned day, unsigned h, unsigned m,
		       unsigned s)
{
	return ((days(year, mon, day) * 24 + h) * 60 + m) * 60 + s;
}
