/* SPDX-License-Identifier: MIT */
/* Page tables as objects: pin, hook, share, unhook, unpin, at every level. */
#include "roles/mem.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/trap.h"

#define AREA (TEST_BASE + 0x80000000UL)
#define NO_MFN 0xfffffffUL /* more than any machine of these tests has */

static pte_t *full_l1(uint64_t **frame, pte_t flags)
{
	pte_t *l1 = page_alloc();

	for (unsigned int i = 0; i < 512; i++)
		l1[i] = MK_PTE(virt_to_mfn(frame[i % 4]), flags);
	page_make_ro(l1);
	return l1;
}

static void test_pin_levels(uint64_t **frame)
{
	pte_t *l1 = full_l1(frame, PTE_KERN), *l2 = page_alloc(), *l3 = page_alloc(),
	      *l4 = page_alloc();
	unsigned long first = virt_to_pfn(l1);

	CHECK_EQ(mmuext_pin(1, first), 0, "pin L1");
	CHECK(mmuext_pin(1, first) < 0, "pinned twice");
	CHECK_EQ(mmuext_unpin(first), 0, "unpin L1");
	CHECK(mmuext_unpin(first) < 0, "unpinned twice");

	l2[5] = MK_PTE(first == ~0UL ? 0 : virt_to_mfn(l1), PTE_TABLE);
	page_make_ro(l2);
	CHECK_EQ(mmuext_pin(2, virt_to_pfn(l2)), 0, "pin L2");
	l3[6] = MK_PTE(virt_to_mfn(l2), PTE_TABLE);
	page_make_ro(l3);
	CHECK_EQ(mmuext_pin(3, virt_to_pfn(l3)), 0, "pin L3");
	l4[0] = MK_PTE(virt_to_mfn(l3), PTE_TABLE);
	for (int i = 272; i < 512; i++)
		l4[i] = ((pte_t *)pfn_to_virt(kernel_l4))[i];
	page_make_ro(l4);
	CHECK_EQ(mmuext_pin(4, virt_to_pfn(l4)), 0, "pin L4");

	/* The tree is used as it stands, at the address its indices give. */
	CHECK_EQ(mmuext_simple(MMUEXT_NEW_BASEPTR, virt_to_mfn(l4)), 0, "new base pointer");
	for (unsigned int i = 0; i < 512; i += 37)
		CHECK_EQ(*(volatile uint64_t *)((6UL << 30) + (5UL << 21) + i * PAGE_SIZE),
			 frame[i % 4][0], "value through the new tree");
	/* An update of the live tree, and the unpinning of its parts, which stay in use. */
	CHECK_EQ(pt_set(&l1[9], MK_PTE(virt_to_mfn(frame[3]), PTE_KERN_RO)), 0, "update");
	invlpg((6UL << 30) + (5UL << 21) + 9 * PAGE_SIZE);
	CHECK_EQ(*(volatile uint64_t *)((6UL << 30) + (5UL << 21) + 9 * PAGE_SIZE), frame[3][0],
		 "value after the update");
	CHECK_EQ(mmuext_unpin(virt_to_pfn(l2)), 0, "unpin L2");
	CHECK_EQ(mmuext_unpin(virt_to_pfn(l3)), 0, "unpin L3");
	CHECK_EQ(*(volatile uint64_t *)((6UL << 30) + (5UL << 21)), frame[0][0],
		 "value after unpinning the parts");
	CHECK_EQ(mmuext_simple(MMUEXT_NEW_BASEPTR, pfn_to_mfn(kernel_l4)), 0, "old base pointer");
	CHECK_EQ(probe_read((void *)((6UL << 30) + (5UL << 21)), NULL), FAULT(TRAP_PF),
		 "old address space");
	CHECK_EQ(mmuext_unpin(virt_to_pfn(l4)), 0, "unpin L4");
	/* All are plain memory again. */
	pt_page_free(l4);
	pt_page_free(l3);
	pt_page_free(l2);
	pt_page_free(l1);
	printf("mini: mem pin ok\n");
}

static void hook(unsigned long va, int level, pte_t val)
{
	CHECK_EQ(pt_set(pt_entry(kernel_l4, va, level), val), 0, "hook");
	mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
}

/* One L1 under two L2 entries, one L2 under two L3 entries: every alias follows. */
static void test_shared_tables(uint64_t **frame)
{
	pte_t *l1 = full_l1(frame, PTE_KERN);
	unsigned long a = AREA, b = AREA + 0x200000, c = AREA + 0x40000000;
	volatile uint64_t *pa = (uint64_t *)a, *pb = (uint64_t *)b, *pc = (uint64_t *)c;

	pt_map(kernel_l4, AREA + 0x400000, 0); /* makes the L2 */
	hook(a, 2, MK_PTE(virt_to_mfn(l1), PTE_TABLE));
	hook(b, 2, MK_PTE(virt_to_mfn(l1), PTE_TABLE));
	hook(c, 3, *pt_entry(kernel_l4, a, 3));
	CHECK(*pa == frame[0][0] && *pb == frame[0][0] && *pc == frame[0][0], "aliases");
	for (unsigned int k = 1; k < 4; k++) {
		CHECK_EQ(pt_set(&l1[0], MK_PTE(virt_to_mfn(frame[k]), PTE_KERN)), 0, "update");
		mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
		CHECK(*pa == frame[k][0] && *pb == frame[k][0] && *pc == frame[k][0],
		      "alias after update %u", k);
		*pb = frame[k][0];
	}
	pte_store(&l1[0], 0, STORE_MOV);
	mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
	CHECK(probe_read(pa, NULL) && probe_read(pb, NULL) && probe_read(pc, NULL),
	      "an alias outlives its entry");
	CHECK_EQ(pt_set(&l1[0], MK_PTE(virt_to_mfn(frame[0]), PTE_KERN)), 0, "update");
	/* Unhook one parent: the others stay. */
	hook(a, 2, 0);
	CHECK_EQ(probe_read(pa, NULL), FAULT(TRAP_PF), "unhooked L1");
	CHECK_EQ(probe_read(pc, NULL), FAULT(TRAP_PF), "unhooked L1, other L3 entry");
	CHECK_EQ(*pb, frame[0][0], "other parent");
	/* Read-only above, writable below. */
	hook(b, 2, MK_PTE(virt_to_mfn(l1), PTE_TABLE & ~PTE_RW));
	CHECK_EQ(probe_read(pb, NULL), 0, "read under a read-only L2 entry");
	CHECK_EQ(probe_write(pb, *pb), FAULT(TRAP_PF), "write under a read-only L2 entry");
	hook(b, 2, 0);
	hook(c, 3, 0);
	CHECK_EQ(probe_read(pc, NULL), FAULT(TRAP_PF), "unhooked L2");
	pt_page_free(l1);
	printf("mini: mem shared tables ok\n");
}

/* An L1 that moves to another address takes its pages along. */
static void test_move(uint64_t **frame)
{
	pte_t *l1 = full_l1(frame, PTE_KERN);

	for (unsigned long i = 0; i < 20; i++) {
		unsigned long va = AREA + (4 + i % 5) * 0x200000;

		hook(va, 2, MK_PTE(virt_to_mfn(l1), PTE_TABLE));
		for (unsigned int k = 0; k < 4; k++)
			CHECK_EQ(*(volatile uint64_t *)(va + (i * 4 + k) * PAGE_SIZE), frame[k][0],
				 "moved L1");
		hook(va, 2, 0);
		CHECK_EQ(probe_read((void *)va, NULL), FAULT(TRAP_PF), "moved away");
	}
	pt_page_free(l1);
	printf("mini: mem move ok\n");
}

static void test_errors(uint64_t **frame)
{
	pte_t *e = pt_entry(kernel_l4, AREA + 0x400000, 1), *l1 = page_alloc();
	struct mmu_update u[3] = {
		{.ptr = pte_maddr(e), .val = MK_PTE(virt_to_mfn(frame[0]), PTE_KERN)},
		{.ptr = pte_maddr(e + 1), .val = MK_PTE(NO_MFN, PTE_KERN)},
		{.ptr = pte_maddr(e + 2), .val = MK_PTE(virt_to_mfn(frame[2]), PTE_KERN)},
	};
	struct multicall_entry mc[2] = {
		{.op = 63},
		{.op = __HYPERVISOR_multicall},
	};
	unsigned int done = 77;
	long rc;

	rc = hc_mmu_update(u, 3, &done);
	CHECK(rc < 0, "mapping memory that is not there: %ld", rc);
	CHECK_EQ(done, 1, "updates done before the bad one");
	CHECK((e[0] & PTE_P) && !(e[1] & PTE_P) && !(e[2] & PTE_P), "entries after the bad one");
	u[0].val = 0;
	CHECK_EQ(hc_mmu_update(u, 1, NULL), 0, "clean up");
	CHECK(hc_update_va(AREA + 0x401000, MK_PTE(NO_MFN, PTE_KERN), 0) < 0, "same by va");
	CHECK(hc_update_va(0x8000000000000000UL, 0, 0) < 0, "update of a non-canonical address");
	u[0].ptr = NO_MFN << 12;
	CHECK(hc_mmu_update(u, 1, NULL) < 0, "update of memory that is not there");
	u[0].ptr = pte_maddr(e) | 3;
	u[0].val = 0;
	CHECK_EQ(hc_mmu_update((void *)8, 1, NULL), -XEN_EFAULT, "bad request pointer");
	CHECK_EQ(HC4(mmu_update, u, 1, NULL, 0x7000), -XEN_ESRCH, "no such domain");

	CHECK_EQ(mmuext_simple(99, 0), -XEN_ENOSYS, "unknown mmuext command");
	CHECK(mmuext_simple(MMUEXT_PIN_L1_TABLE, NO_MFN) < 0, "pin of memory that is not there");
	CHECK(mmuext_simple(MMUEXT_UNPIN_TABLE, NO_MFN) < 0, "unpin of memory that is not there");
	CHECK(mmuext_simple(MMUEXT_NEW_BASEPTR, NO_MFN) < 0, "base pointer nowhere");
	CHECK_EQ(hc_mmuext((void *)8, 1, NULL), -XEN_EFAULT, "bad mmuext pointer");
	l1[7] = MK_PTE(NO_MFN, PTE_KERN);
	page_make_ro(l1);
	CHECK(mmuext_pin(1, virt_to_pfn(l1)) < 0, "pin of a table with a bad entry");
	page_make_rw(l1);
	page_free(l1);

	CHECK_EQ(hc_multicall(mc, 2), 0, "multicall");
	CHECK_EQ(mc[0].result, -XEN_ENOSYS, "unknown hypercall in a multicall");
	CHECK_EQ(mc[1].result, -XEN_EINVAL, "multicall in a multicall");
	CHECK_EQ(hc_multicall((void *)8, 1), -XEN_EFAULT, "multicall bad pointer");
	CHECK_EQ(hypercall(63, 0, 0, 0, 0, 0), -XEN_ENOSYS, "unknown hypercall");
	CHECK_EQ(hypercall(4000, 0, 0, 0, 0, 0), -XEN_ENOSYS, "hypercall out of range");
	printf("mini: mem errors ok\n");
}

void mem_tables(void)
{
	uint64_t *frame[4];

	for (unsigned int i = 0; i < 4; i++) {
		frame[i] = page_alloc();
		frame[i][0] = 0x1234567800000000ULL + i;
	}
	test_pin_levels(frame);
	test_shared_tables(frame);
	test_move(frame);
	test_errors(frame);
	for (unsigned int i = 0; i < 4; i++)
		page_free(frame[i]);
}
