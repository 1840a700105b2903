/* SPDX-License-Identifier: MIT */
/* Pages as wholes: pinning page tables, giving a page up and taking one. */
#include "roles/bench.h"
#include "rt/mem.h"
#include "rt/role.h"

static struct mmuext_op pin_op = {.cmd = MMUEXT_PIN_L1_TABLE},
			unpin_op = {.cmd = MMUEXT_UNPIN_TABLE};
static pte_t *table;
static unsigned long page_pfn;
static xen_pfn_t extent;
static struct xen_memory_reservation reservation;

static void pin_start(pte_t flags)
{
	char *pages = pages_alloc(513);

	table = (pte_t *)pages;
	for (unsigned int i = 0; flags && i < 512; i++)
		table[i] = MK_PTE(virt_to_mfn(pages + (i + 1) * PAGE_SIZE), flags);
	page_make_ro(table);
	pin_op.arg1.mfn = unpin_op.arg1.mfn = virt_to_mfn(table);
}

static void pin_empty(void)
{
	pin_start(0);
}

static void pin_full(void)
{
	pin_start(PTE_KERN | PTE_NX);
}

static void pin_end(void)
{
	page_make_rw(table);
	for (unsigned int i = 0; i < 513; i++)
		page_free((char *)table + i * PAGE_SIZE);
}

static void pin(void)
{
	bench_rc |= BENCH_HC4(mmuext_op, &pin_op, 1, 0, DOMID_SELF);
}

static void unpin(void)
{
	bench_rc |= BENCH_HC4(mmuext_op, &unpin_op, 1, 0, DOMID_SELF);
}

static void give_start(void)
{
	void *page = page_alloc();

	page_pfn = virt_to_pfn(page);
	bench_rc |= pt_set(pt_entry(kernel_l4, (unsigned long)page, 1), 0);
	mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
	extent = pfn_to_mfn(page_pfn);
	reservation = (struct xen_memory_reservation){.nr_extents = 1, .domid = DOMID_SELF};
	set_xen_guest_handle(reservation.extent_start, &extent);
}

static void give(void)
{
	bench_rc |= BENCH_HC2(memory_op, XENMEM_decrease_reservation, &reservation) != 1;
	extent = page_pfn;
}

static void take(void)
{
	bench_rc |= BENCH_HC2(memory_op, XENMEM_populate_physmap, &reservation) != 1;
}

static void give_end(void)
{
	void *page = pfn_to_virt(page_pfn);

	set_p2m(page_pfn, extent);
	bench_rc |= pt_set(pt_entry(kernel_l4, (unsigned long)page, 1),
			   MK_PTE(extent, PTE_KERN | PTE_NX));
	page_free(page);
}

const struct bench bench_pin[] = {
	{.name = "pin an empty L1",
	 .undo_name = "unpin an empty L1",
	 .every = 20,
	 .start = pin_empty,
	 .op = pin,
	 .undo = unpin,
	 .end = pin_end},
	{.name = "pin an L1 of 512 RW",
	 .undo_name = "unpin an L1 of 512 RW",
	 .every = 20,
	 .start = pin_full,
	 .op = pin,
	 .undo = unpin,
	 .end = pin_end},
	{.name = "decrease_reservation, 1 page",
	 .undo_name = "populate_physmap, 1 page",
	 .every = 4,
	 .start = give_start,
	 .op = give,
	 .undo = take,
	 .end = give_end},
	{0},
};
