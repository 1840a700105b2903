/* SPDX-License-Identifier: MIT */
/* Hashing and reading; see rates.h. */
#include "stress/share_bench/rates.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memsvc/page_hash.h"
#include "stress/share_bench/images.h"

#define ROUNDS 5
#define CACHED 16 /* pages */

static volatile uint64_t sink;

static double hash_all(const uint8_t *p, uint64_t pages)
{
	double t = cpu_thread_s();
	uint64_t sum = 0;

	for (uint64_t i = 0; i < pages; i++)
		sum += page_hash_ahead(p + i * IMG_PAGE, p + (i + 1) % pages * IMG_PAGE);
	sink = sum;
	return (double)(pages * IMG_PAGE) / (cpu_thread_s() - t);
}

static double read_all(const uint8_t *p, uint64_t pages)
{
	const uint64_t *w = (const uint64_t *)p;
	double t = cpu_thread_s();
	uint64_t a = 0, b = 0, c = 0, d = 0;

	for (uint64_t i = 0; i < pages * IMG_WORDS; i += 8) {
		a += w[i] ^ w[i + 1];
		b += w[i + 2] ^ w[i + 3];
		c += w[i + 4] ^ w[i + 5];
		d += w[i + 6] ^ w[i + 7];
	}
	sink = a + b + c + d;
	return (double)(pages * IMG_PAGE) / (cpu_thread_s() - t);
}

static double hash_cached(const uint8_t *p, uint64_t pages)
{
	double t = cpu_thread_s();
	uint64_t sum = 0;

	for (uint64_t i = 0; i < pages; i++)
		sum += page_hash(p + i % CACHED * IMG_PAGE);
	sink = sum;
	return (double)(pages * IMG_PAGE) / (cpu_thread_s() - t);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

void rates_measure(uint64_t pages, struct rates *out)
{
	double hash[ROUNDS], read[ROUNDS], cached[ROUNDS];
	uint8_t *p = mmap(NULL, pages * IMG_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("no memory to read");
	madvise(p, pages * IMG_PAGE, MADV_HUGEPAGE); /* as in the hypervisor's direct map */
	for (uint64_t i = 0; i < pages * IMG_PAGE; i += sizeof(i))
		memcpy(p + i, &i, sizeof(i));
	for (unsigned i = 0; i < ROUNDS; i++) {
		hash[i] = hash_all(p, pages);
		read[i] = read_all(p, pages);
		cached[i] = hash_cached(p, pages);
	}
	munmap(p, pages * IMG_PAGE);
	out->hash = median(hash);
	out->read = median(read);
	out->hash_cached = median(cached);
}
