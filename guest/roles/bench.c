/* SPDX-License-Identifier: MIT */
/* Sampling, and one line per operation: `bench: per= n= median= min= max= name=...`. */
#include "roles/bench.h"
#include "roles/roles.h"
#include "roles/sort.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"

long bench_rc;

static uint64_t *sample[2];
static uint64_t overhead; /* of the timing itself */

/* Not adapted to what it is called with: an empty operation costs it the same. */
static uint64_t __attribute__((noipa)) timed(void (*op)(void))
{
	uint64_t t = rdtsc();

	op();
	return rdtsc() - t;
}

static uint64_t median(uint64_t *a, unsigned long n)
{
	heap_sort(a, n);
	return a[n / 2];
}

static void report(const char *name, unsigned int per, uint64_t *a, unsigned long n)
{
	uint64_t mid = median(a, n);

	printf("bench: per=%u n=%lu median=%ld min=%ld max=%ld name=%s\n", per, n, mid - overhead,
	       a[0] - overhead, a[n - 1] - overhead, name);
}

static void run(const struct bench *b, unsigned long n)
{
	unsigned int per = b->per ? b->per : 1;

	if (b->every)
		n = n / b->every + 1;
	bench_rc = 0;
	if (b->start)
		b->start();
	for (unsigned long i = 0; i < n; i++) {
		sample[0][i] = timed(b->op);
		if (b->undo)
			sample[1][i] = timed(b->undo);
	}
	if (b->end)
		b->end();
	CHECK(!bench_rc, "%s: an operation failed: %ld", b->name, bench_rc);
	report(b->name, per, sample[0], n);
	if (b->undo_name)
		report(b->undo_name, per, sample[1], n);
}

static void __attribute__((noipa)) nothing(void)
{
}

static void thousand(void)
{
	__asm__ volatile(".rept 1000\n\tnop\n\t.endr");
}

/* What the clock counts: the launcher wants a tick per instruction. */
static void calibrate(unsigned long n)
{
	const struct bench nops = {.name = "1000 nops", .op = thousand};

	for (unsigned long i = 0; i < n; i++)
		sample[0][i] = timed(nothing);
	overhead = median(sample[0], n);
	run(&nops, n);
}

void role_bench(void)
{
	static const struct bench *const all[] = {bench_calls, bench_events, bench_traps,
						  bench_mmu,   bench_pin,    bench_vcpus};
	unsigned long n = arg_num("n", 2000), count = 0;

	CHECK(n > 0 && n <= 100000, "n= is out of range");
	sample[0] = pages_alloc(n * 8 / PAGE_SIZE + 1);
	sample[1] = pages_alloc(n * 8 / PAGE_SIZE + 1);
	smp_up_all();
	calibrate(n);
	if (*arg_str("side", "")) {
		bench_domains_side(n);
		for (const struct bench *b = bench_domains; b->name; b++)
			run(b, n);
		role_pass("rounds=%lu", n);
	}
	for (unsigned int i = 0; i < ARRAY_LEN(all); i++)
		for (const struct bench *b = all[i]; b->name; b++, count++)
			run(b, n);
	role_pass("benches=%lu", count);
}
