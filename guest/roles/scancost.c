/* SPDX-License-Identifier: MIT */
/*
 * What the sharing scanner costs mmu_update: windows 0 and 1 of the profiler (rt/mark.h) hold the same
 * `count` updates, which map and clear pages of their own, without and with the scanners of idle
 * pCPUs at full rate on `pages` other pages that they have not seen yet. The domain must be the one
 * in control, and scanning off.
 */
#include "core/hc_xylem.h"
#include "roles/roles.h"
#include "rt/hypercall.h"
#include "rt/mark.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"

#define MAPPED 32

static pte_t *l1;
static unsigned long first_pfn;

static void updates(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		pte_t val = MK_PTE(pfn_to_mfn(first_pfn + i / 2 % MAPPED), PTE_KERN | PTE_NX);

		CHECK_EQ(pt_set(&l1[i / 2 % MAPPED], i % 2 ? 0 : val), 0, "mmu_update");
	}
}

static void scan_rate(uint64_t rate)
{
	struct xylem_control c = {.what = XYLEM_SET_scan_rate_all, .value = rate};

	CHECK_EQ(HC2(arch_7, XYLEM_OP_control, &c), 0, "scan rate");
}

static void fill(unsigned long pages)
{
	for (unsigned long i = 0; i < pages; i++) {
		uint64_t *page = page_alloc();

		/* Every second one has a twin. */
		for (unsigned int w = 0; w < 8; w++)
			page[w * 64] = mix64(i % 2 ? i : i / 4) + w;
	}
}

void role_scancost(void)
{
	unsigned long count = arg_num("count", 2000);

	first_pfn = virt_to_pfn(pages_alloc(MAPPED));
	for (unsigned int i = 0; i < MAPPED; i++)
		*(uint64_t *)pfn_to_virt(first_pfn + i) = i;
	pt_map(kernel_l4, TEST_BASE, 0);
	l1 = pt_entry(kernel_l4, TEST_BASE, 1);
	fill(arg_num("pages", 8000));
	updates(count);
	mark_forget();
	mark_open(0);
	updates(count);
	mark_close(0);
	scan_rate(1000000000);
	sleep_until(time_ns() + 2000000);
	mark_open(1);
	updates(count);
	mark_close(1);
	scan_rate(0);
	mark_record(0);
	role_pass("count=%lu", count);
}
