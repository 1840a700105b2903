/* SPDX-License-Identifier: MIT */
/* What one core can do at most: hash pages as the scanner does, and just read them. */
#ifndef SHARE_BENCH_RATES_H
#define SHARE_BENCH_RATES_H

#include <stdint.h>

struct rates {
	double hash, read;  /* bytes per CPU second, memory that is in no cache */
	double hash_cached; /* the same few pages again and again */
};

/** rates_measure() - over @pages pages, several times in turns; medians. */
void rates_measure(uint64_t pages, struct rates *out);

#endif
