/* SPDX-License-Identifier: MIT */
/* Page tables: reading the tree, changing it by hypercall, pinning. */
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"

static void set_mapping(void *page, pte_t flags)
{
	pte_t val = MK_PTE(virt_to_mfn(page), flags | PTE_NX);
	long rc = hc_update_va((unsigned long)page, val, UVMF_INVLPG | UVMF_ALL);

	if (rc)
		panic("remap %p flags %lx: %ld", page, flags, rc);
}

void page_make_ro(void *page)
{
	set_mapping(page, PTE_KERN_RO);
}

void page_make_rw(void *page)
{
	set_mapping(page, PTE_KERN);
}

pte_t *pt_page_alloc(void)
{
	pte_t *t = page_alloc();

	page_make_ro(t);
	return t;
}

void pt_page_free(pte_t *t)
{
	page_make_rw(t);
	page_free(t);
}

pte_t *pt_entry(unsigned long l4_pfn, unsigned long va, int level)
{
	unsigned long pfn = l4_pfn;

	for (int l = 4;; l--) {
		pte_t *e = (pte_t *)pfn_to_virt(pfn) + (va >> (12 + 9 * (l - 1)) & 511);

		if (l == level)
			return e;
		if (!(*e & PTE_P))
			return NULL;
		pfn = mfn_to_pfn(PTE_MFN(*e));
		if (pfn >= nr_pages)
			return NULL;
	}
}

uint64_t pte_maddr(const volatile pte_t *e)
{
	return (virt_to_mfn(e) << PAGE_SHIFT) | ((unsigned long)e & (PAGE_SIZE - 1));
}

long pt_set(const volatile pte_t *e, pte_t val)
{
	struct mmu_update u = {.ptr = pte_maddr(e) | MMU_NORMAL_PT_UPDATE, .val = val};

	return hc_mmu_update(&u, 1, NULL);
}

void pt_map(unsigned long l4_pfn, unsigned long va, pte_t val)
{
	for (int level = 4; level >= 1; level--) {
		pte_t *e = pt_entry(l4_pfn, va, level);
		long rc = 0;

		if (level == 1)
			rc = pt_set(e, val);
		else if (!(*e & PTE_P))
			rc = pt_set(e, MK_PTE(virt_to_mfn(pt_page_alloc()), PTE_TABLE));
		if (rc)
			panic("map %lx level %d: %ld", va, level, rc);
	}
}

long mmuext_simple(unsigned int cmd, unsigned long arg)
{
	struct mmuext_op op = {.cmd = cmd, .arg1.linear_addr = arg};

	return hc_mmuext(&op, 1, NULL);
}

long mmuext_pin(int level, unsigned long pfn)
{
	return mmuext_simple(MMUEXT_PIN_L1_TABLE + (unsigned int)level - 1, pfn_to_mfn(pfn));
}

long mmuext_unpin(unsigned long pfn)
{
	return mmuext_simple(MMUEXT_UNPIN_TABLE, pfn_to_mfn(pfn));
}
