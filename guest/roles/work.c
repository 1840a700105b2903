/* SPDX-License-Identifier: MIT */
/*
 * A well-behaved guest whose progress is measured: units of computing, hypercalls, page faults and
 * changes of mappings in a fixed mix, counted from second `from` of system time, which all guests
 * share, for `secs`; `tail` seconds more, uncounted, so that no neighbour finds the host emptier.
 * Before `from` it computes, or sleeps if `asleep` is not 0.
 */
#include "roles/mem.h"
#include "roles/roles.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "rt/trap.h"
#include <stdatomic.h>

#define NS 1000000000UL

static uint64_t start, end, tail_end;
static _Atomic unsigned long units, running;

static uint64_t compute(uint64_t x)
{
	for (int i = 0; i < 4000; i++)
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
	__asm__ volatile("" : "+r"(x));
	return x;
}

/* What a kernel does for its processes: some computing, calls, a fault, a mapping made and gone. */
static uint64_t unit(unsigned long va, void *page, uint64_t x)
{
	x = compute(x);
	hc_version(XENVER_version, NULL);
	CHECK_EQ(hc_update_va(va, MK_PTE(virt_to_mfn(page), PTE_KERN), UVMF_INVLPG), 0, "map");
	*(volatile uint64_t *)va = x;
	CHECK_EQ(hc_update_va(va, 0, UVMF_INVLPG), 0, "unmap");
	CHECK(probe_read((void *)va, NULL), "read what is not mapped");
	return x;
}

static void work(void *arg)
{
	unsigned long va = TEST_BASE + this_cpu()->id * PAGE_SIZE, n = 0;
	uint64_t before[4], after[4], x = 1;
	void *page = page_alloc();

	(void)arg;
	if (arg_num("asleep", 0))
		sleep_until(start);
	while (time_ns() < start)
		x = compute(x);
	runstate_read(before);
	for (; time_ns() < end; n++)
		x = unit(va, page, x);
	runstate_read(after);
	atomic_fetch_add(&units, n);
	atomic_fetch_add(&running, after[RUNSTATE_running] - before[RUNSTATE_running]);
	while (time_ns() < tail_end)
		x = compute(x);
}

void role_work(void)
{
	start = arg_num("from", 1) * NS;
	end = start + arg_num("secs", 4) * NS;
	tail_end = end + arg_num("tail", 1) * NS;
	CHECK(time_ns() < start, "up after from=");
	smp_up_all();
	for (unsigned int i = 0; i < nr_cpus; i++)
		pt_map(kernel_l4, TEST_BASE + i * PAGE_SIZE, 0);
	smp_call_all(work, NULL);
	role_pass("units=%lu running_ns=%lu vcpus=%u", units, running, nr_cpus);
}
