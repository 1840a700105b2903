/* SPDX-License-Identifier: MIT */
/*
 * Some of what a busy Linux asks of the hypervisor, over and over: computes in bursts, maps and
 * unmaps pages by mmu_update, flushes, and has a timer tick. All in kernel mode: it has no user
 * processes, so no system calls, page faults or switches (guest/linux/load.c has). From `from` seconds of system time on,
 * which all guests share (it sleeps until then), it counts rounds for `secs`, and goes on for `tail`
 * more.
 *
 * `period_ms`: instead of one round after the other, one per period, asleep in between; then it
 * also tells how late it woke up.
 */
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include <stdatomic.h>

#define NS 1000000000UL
#define MS 1000000UL
#define PAGES 8

static struct {
	uint64_t tick, next, x;
	unsigned long ticks;
	unsigned long pfn[PAGES];
} busy;

/* The tick of the guest's kernel; armed anew when it is over. */
static void tick(void)
{
	uint64_t now = time_ns();

	if (!busy.tick || now < busy.next)
		return;
	busy.ticks++;
	busy.next = now + busy.tick;
	CHECK_EQ(timer_arm(busy.next, 0), 0, "timer");
}

static void burst(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		busy.x = busy.x * 6364136223846793005ULL + 1442695040888963407ULL;
	__asm__ volatile("" : "+r"(busy.x));
}

/* About 8 000 instructions, a tenth of them in the hypervisor. */
static void one_page(unsigned i)
{
	unsigned long va = TEST_BASE + i * PAGE_SIZE;

	pt_map(kernel_l4, va, MK_PTE(pfn_to_mfn(busy.pfn[i]), PTE_KERN));
	*(volatile uint64_t *)va = busy.x;
	burst(1500);
	CHECK_EQ(pt_set(pt_entry(kernel_l4, va, 1), 0), 0, "unmap");
	tick();
	if (i == PAGES - 1)
		mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
}

static void one_round(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		one_page(i);
}

/* Counts pages, so that the one under way at the end weighs little. */
static void work_until(uint64_t end, uint64_t *pages)
{
	uint64_t n = 0;

	for (;; n++) {
		one_page(n % PAGES);
		if (time_ns() >= end)
			break;
	}
	*pages = n;
}

static void always(uint64_t from, uint64_t secs, uint64_t tail)
{
	uint64_t rs0[4], rs[4], none, rounds, t0;

	sleep_until(from);
	runstate_read(rs0);
	t0 = time_ns();
	work_until(from + secs * NS, &rounds);
	runstate_read(rs);
	work_until(from + (secs + tail) * NS, &none);
	role_pass("rounds=%lu ticks=%lu elapsed_ns=%lu running_ns=%lu", rounds, busy.ticks,
		  from + secs * NS - t0, rs[RUNSTATE_running] - rs0[RUNSTATE_running]);
}

static void sift(uint64_t *a, uint64_t n, uint64_t v)
{
	uint64_t i = n;

	for (; i && a[i - 1] > v; i--)
		a[i] = a[i - 1];
	a[i] = v;
}

static void by_period(uint64_t from, uint64_t secs, uint64_t tail, uint64_t period, uint64_t ready)
{
	uint64_t want = secs * NS / period, n = 0, next, late;
	uint64_t *a;

	CHECK(want && want * 8 / PAGE_SIZE + 16 < pages_left(), "secs= and period_ms= do not fit");
	a = pages_alloc(want * 8 / PAGE_SIZE + 1);
	/* Guests do not all wake at once. */
	next = from + (rdtsc() * 6364136223846793005ULL >> 20) % period;
	for (; n < want; n++, next += period) {
		sleep_until(next);
		late = time_ns() - next;
		one_round();
		sift(a, n, late);
		if (time_ns() > next + period) /* a round was missed */
			break;
	}
	sleep_until(from + (secs + tail) * NS);
	CHECK(n, "never woke up in time");
	role_pass("rounds=%lu wanted=%lu p50_ns=%lu p99_ns=%lu max_ns=%lu ready_ns=%lu", n, want,
		  a[n / 2], a[n * 99 / 100], a[n - 1], ready);
}

void role_busy(void)
{
	uint64_t from = arg_num("from", 0) * NS, secs = arg_num("secs", 2);
	uint64_t period = arg_num("period_ms", 0) * MS, tail = arg_num("tail", 0), ready;

	busy.tick = arg_num("tick_us", 4000) * 1000;
	for (unsigned i = 0; i < PAGES; i++)
		busy.pfn[i] = virt_to_pfn(page_alloc());
	ready = time_ns();
	if (from < ready)
		from = ready;
	if (period) {
		busy.tick = 0;
		by_period(from, secs, tail, period, ready);
	} else {
		always(from, secs, tail);
	}
}
