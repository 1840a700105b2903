/* SPDX-License-Identifier: MIT */
/* Giving memory back and getting it again; M2P; pages cleared and copied for us. */
#include "roles/mem.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/trap.h"

#define MAX_BALLOON 512UL

static long reservation(int cmd, xen_pfn_t *list, unsigned long n)
{
	struct xen_memory_reservation r = {.nr_extents = n, .domid = DOMID_SELF};

	set_xen_guest_handle(r.extent_start, list);
	return hc_memory(cmd, &r);
}

static long current_pages(void)
{
	domid_t self = DOMID_SELF;

	return hc_memory(XENMEM_current_reservation, &self);
}

static void test_balloon(unsigned long n)
{
	xen_pfn_t *list = page_alloc();
	void **page = page_alloc();
	long before = current_pages();

	for (unsigned long i = 0; i < n; i++) {
		page[i] = page_alloc();
		*(uint64_t *)page[i] = 0xdeadbeef;
		list[i] = virt_to_mfn(page[i]);
		CHECK_EQ(hc_update_va((unsigned long)page[i], 0, UVMF_INVLPG), 0, "unmap");
	}
	CHECK_EQ(reservation(XENMEM_decrease_reservation, list, n), (long)n, "decrease");
	CHECK_EQ(current_pages(), before - (long)n, "pages after decrease");
	/* What is gone can't be mapped any more. */
	CHECK(hc_update_va((unsigned long)page[0], MK_PTE(list[0], PTE_KERN), 0) < 0,
	      "mapped a frame that was given back");
	for (unsigned long i = 0; i < n; i++)
		list[i] = virt_to_pfn(page[i]);
	CHECK_EQ(reservation(XENMEM_populate_physmap, list, n), (long)n, "populate");
	CHECK_EQ(current_pages(), before, "pages after populate");
	for (unsigned long i = 0; i < n; i++) {
		unsigned long pfn = virt_to_pfn(page[i]);

		set_p2m(pfn, list[i]);
		CHECK_EQ(mfn_to_pfn(list[i]), pfn, "M2P after populate");
		CHECK_EQ(hc_update_va((unsigned long)page[i], MK_PTE(list[i], PTE_KERN | PTE_NX),
				      UVMF_INVLPG),
			 0, "map");
		for (unsigned int w = 0; w < 512; w++)
			((volatile uint64_t *)page[i])[w] = w + pfn;
	}
	for (unsigned long i = 0; i < n; i++) {
		for (unsigned int w = 0; w < 512; w++)
			CHECK_EQ(((volatile uint64_t *)page[i])[w], w + virt_to_pfn(page[i]),
				 "memory after populate");
		page_free(page[i]);
	}
	CHECK_EQ(reservation(XENMEM_decrease_reservation, (void *)8, 1), 0, "bad list");
	list[0] = 0xfffffff000UL;
	CHECK_EQ(reservation(XENMEM_decrease_reservation, list, 1), 0, "decrease of no frame");
	page_free(list);
	page_free(page);
	printf("mini: mem balloon ok pages=%lu\n", n);
}

static void test_page_ops(void)
{
	uint64_t *a = page_alloc(), *b = page_alloc();
	struct mmuext_op op = {.cmd = MMUEXT_COPY_PAGE};
	struct mmu_update u;

	for (unsigned int i = 0; i < 512; i++)
		a[i] = i * 3 + 1;
	op.arg1.mfn = virt_to_mfn(b);
	op.arg2.src_mfn = virt_to_mfn(a);
	CHECK_EQ(hc_mmuext(&op, 1, NULL), 0, "COPY_PAGE");
	CHECK(!memcmp(a, b, PAGE_SIZE), "COPY_PAGE");
	CHECK_EQ(mmuext_simple(MMUEXT_CLEAR_PAGE, virt_to_mfn(b)), 0, "CLEAR_PAGE");
	for (unsigned int i = 0; i < 512; i++)
		CHECK_EQ(b[i], 0, "CLEAR_PAGE");
	u.ptr = (virt_to_mfn(a) << PAGE_SHIFT) | MMU_MACHPHYS_UPDATE;
	u.val = virt_to_pfn(a);
	CHECK_EQ(hc_mmu_update(&u, 1, NULL), 0, "MACHPHYS_UPDATE");
	CHECK_EQ(mfn_to_pfn(virt_to_mfn(a)), virt_to_pfn(a), "M2P");
	u.ptr = 0xfffffff000UL << PAGE_SHIFT | MMU_MACHPHYS_UPDATE;
	CHECK(hc_mmu_update(&u, 1, NULL) < 0, "MACHPHYS_UPDATE of no frame");
	page_free(a);
	page_free(b);
	printf("mini: mem page ops ok\n");
}

void mem_balloon(unsigned long pages)
{
	CHECK(pages && pages <= MAX_BALLOON, "balloon= out of range");
	test_balloon(pages);
	test_page_ops();
}
