/* SPDX-License-Identifier: MIT */
/*
 * How fast one core scans memory that is in no cache, against its read bandwidth in the same run:
 * plain reads by scalar code, page hashes, and the scanner as a whole (guard, flush, grace period,
 * hash, sharing table) over pages of which none are equal; then once more over the same pages, which
 * by then are hints and cost a look. CPU time of this thread; the best of each. One JSON line each,
 * "vs_read" is the bandwidth of reading it all in order divided by this one.
 *
 *   scan_speed [MiB] [rounds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/domain.h"
#include "core/host/host.h"
#include "memsvc/p2m.h"
#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"

#define GUEST_FRAMES(names) ((names) + (names) / 32 + 8192)

static struct domain *dom;
static uint64_t names, rounds = 5;
static volatile uint64_t sink;

static double best_read; /* seconds per page, in sequential order */

static double cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t read_page(const void *page)
{
	const uint64_t *w = page;
	uint64_t a = 0, b = 0, c = 0, d = 0;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i += 8) {
		a += w[i] ^ w[i + 4];
		b += w[i + 1] ^ w[i + 5];
		c += w[i + 2] ^ w[i + 6];
		d += w[i + 3] ^ w[i + 7];
	}
	return a ^ b ^ c ^ d;
}

static const void *page_at(uint64_t visit, enum scan_order order)
{
	uint64_t gfn = scan_place(visit % names, names, order);

	return arch_mfn_to_virt(mm_gfn_to_mfn(&dom->mm, GFN(gfn)));
}

static double time_reads(enum scan_order order)
{
	double t = cpu_now();

	for (uint64_t i = 0; i < names; i++)
		sink += read_page(page_at(i, order));
	return cpu_now() - t;
}

static double time_hashes(enum scan_order order)
{
	double t = cpu_now();
	const void *page = page_at(0, order);

	for (uint64_t i = 0; i < names; i++) {
		const void *next = page_at(i + 1, order);

		sink += page_hash_ahead(page, next);
		page = next;
	}
	return cpu_now() - t;
}

/* Until each page has been hashed once, or, with all of them hints, looked at once. */
static double time_scan(bool hashing)
{
	struct pcpu *p = this_pcpu();
	struct scan_stats from, to;
	double t;

	scan_stats(&from);
	t = cpu_now();
	do {
		for (unsigned i = 0; i < 8; i++) {
			host_service();
			tlb_serve();
			p->work = 0;
			scan_idle(p);
		}
		scan_stats(&to);
	} while (hashing ? to.scanned - from.scanned < names : to.looked - from.looked < names);
	t = cpu_now() - t;
	if (to.scanned - from.scanned != (hashing ? names : 0)) {
		fprintf(stderr, "some pages were hashed twice\n");
		exit(1);
	}
	return t;
}

static void report(const char *what, const char *order, uint64_t pages, double secs)
{
	printf("{\"what\":\"%s\",\"order\":\"%s\",\"pages\":%llu,\"ns_per_page\":%.1f,"
	       "\"gb_per_s\":%.2f,\"vs_read\":%.2f}\n",
	       what, order, (unsigned long long)pages, secs * 1e9 / (double)pages,
	       (double)(pages * PAGE_SIZE) / secs / 1e9, secs / (double)pages / best_read);
	fflush(stdout);
}

static double keep_best(double old, double new)
{
	return old == 0 || new < old ? new : old;
}

/* Every page differs, from its first word on and everywhere; written by the guest, so no guard is
 * left. */
static void fill(uint64_t round)
{
	for (uint64_t g = 0; g < names; g++) {
		uint64_t *w = arch_mfn_to_virt(mm_gfn_get_writable(&dom->mm, GFN(g)));
		struct page_info *pi = page_of(arch_virt_to_mfn(w));

		for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
			w[i] = (g << 20 | i | round << 52) * 0x9e3779b97f4a7c15ULL + 1;
		/* As if it had never been scanned. */
		share_table_remove(atomic_load(&pi->dom.hash), mfn_of(pi));
		atomic_store(&pi->dom.hash, 0);
		atomic_store(&pi->dom.scan, 0);
	}
}

static void measure(enum scan_order order, const char *name)
{
	double read = 0, hash = 0, scan = 0, again = 0;

	scan_set_order(order);
	for (uint64_t r = 0; r < rounds; r++) {
		fill(r + 1);
		read = keep_best(read, time_reads(order));
		hash = keep_best(hash, time_hashes(order));
		scan = keep_best(scan, time_scan(true));
		again = keep_best(again, time_scan(false));
	}
	if (order == SCAN_SEQUENTIAL)
		best_read = read / (double)names;
	report("read", name, names, read);
	report("hash", name, names, hash);
	report("scan", name, names, scan);
	report("look", name, names, again);
}

int main(int argc, char **argv)
{
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 0) : 512;
	struct mem_range r = {.base = HOST_FIRST_MFN << PAGE_SHIFT};
	struct domain_params p = {.name = "g", .kind = "bench", .vcpus = 1};

	rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : rounds;
	/* A power of two, so that random order has no holes to skip. */
	names = scan_span(mib << (20 - PAGE_SHIFT));
	p.nr_pages = names;
	r.size = GUEST_FRAMES(names) << PAGE_SHIFT;
	host_arena_init(GUEST_FRAMES(names));
	if (frames_init(&r, 1))
		return 1;
	host_sim_init(1);
	domains_init();
	if (scan_init() || domain_create(&dom, &p) ||
	    mm_populate(&dom->mm, GFN(0), names) != names) {
		fprintf(stderr, "no memory for %llu pages\n", (unsigned long long)names);
		return 1;
	}
	domain_start(dom);
	scan_set_rate(SCAN_RATE_MAX);
	scan_set_cpu_percent(100);
	measure(SCAN_SEQUENTIAL, "sequential");
	measure(SCAN_RANDOM, "random");
	return 0;
}
