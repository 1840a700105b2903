/* SPDX-License-Identifier: MIT */
/*
 * Memory: a direct map of all own pages, a page allocator, and page tables. The direct map is what the
 * builder mapped around the image, made longer, so that a small guest needs no more tables; only when
 * it would not fit there it is elsewhere.
 *
 * A pfn is the guest's own number of a page, an mfn the number the ABI wants
 * in page tables; they differ on Xen and are equal on Xylem. Always convert.
 * Each free page has one mapping only, in the direct map, so making it a page
 * table needs one change.
 */
#ifndef MINI_MEM_H
#define MINI_MEM_H

#include "rt/base.h"

#define KERNEL_BASE 0xffffffff80000000UL
#define KERNEL_ROOM (2UL << 30)	       /* to the end of the address space */
#define DMAP_BASE 0xffff880000000000UL /* L4 slot 272: the direct map of more memory than that */
#define TEST_BASE 0xffff888000000000UL /* L4 slot 273: tests' own area, in every address space */

#define PTE_P 0x1UL
#define PTE_RW 0x2UL
#define PTE_US 0x4UL
#define PTE_A 0x20UL
#define PTE_D 0x40UL
#define PTE_PSE 0x80UL
#define PTE_NX (1UL << 63)
#define PTE_KERN (PTE_P | PTE_RW | PTE_A | PTE_D)
#define PTE_KERN_RO (PTE_P | PTE_A | PTE_D)
#define PTE_USER (PTE_KERN | PTE_US)
#define PTE_USER_RO (PTE_KERN_RO | PTE_US)
#define PTE_TABLE (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)
#define PTE_MFN(pte) (((pte)&0xffffffffff000UL) >> PAGE_SHIFT)
#define MK_PTE(mfn, flags) ((uint64_t)(mfn) << PAGE_SHIFT | (flags))

typedef uint64_t pte_t;

struct start_info;
extern struct start_info *start_info;
extern unsigned long nr_pages;	/* pages of this domain */
extern unsigned long dmap_base; /* where pfn 0 is mapped: KERNEL_BASE or DMAP_BASE */
extern unsigned long kernel_l4; /* pfn of the boot address space's L4 */

/* Take over the boot page tables and build the direct map. */
void mem_init(struct start_info *si);

unsigned long pfn_to_mfn(unsigned long pfn);
unsigned long mfn_to_pfn(unsigned long mfn); /* ~0UL if the M2P does not know it */
void set_p2m(unsigned long pfn, unsigned long mfn);
static inline void *pfn_to_virt(unsigned long pfn)
{
	return (void *)(dmap_base + (pfn << PAGE_SHIFT));
}
/* For direct-map and image addresses. */
unsigned long virt_to_pfn(const volatile void *va);
static inline unsigned long virt_to_mfn(const volatile void *va)
{
	return pfn_to_mfn(virt_to_pfn(va));
}

/* Zeroed page(s), direct-map address; out of memory panics. Any context, any vCPU. */
void *page_alloc(void);
/* The same, or NULL when that would leave less than `keep` free pages. */
void *page_try_alloc(unsigned long keep);
void *pages_alloc(unsigned long n); /* contiguous pfns; not for page_free() as a whole */
void page_free(void *page);
/*
 * Take a free page as it is, not even touched, if more than `keep` are free;
 * pages that somebody has used before go first. Give one back the same way.
 */
bool page_take(unsigned long keep, unsigned long *pfn);
void page_give(unsigned long pfn);
unsigned long pages_left(void);

/* Give a page a page table's read-only mapping, or its writable one back. */
void page_make_ro(void *page);
void page_make_rw(void *page);
pte_t *pt_page_alloc(void);
void pt_page_free(pte_t *table);

/*
 * The entry of a level (1 to 4) for va in the tree of an L4, as a read-only
 * pointer; NULL if a table on the way is missing.
 */
pte_t *pt_entry(unsigned long l4_pfn, unsigned long va, int level);
/* Machine address of a page-table entry, for mmu_update. */
uint64_t pte_maddr(const volatile pte_t *e);
/* mmu_update of one entry; 0 or -XEN_E*. */
long pt_set(const volatile pte_t *e, pte_t val);
/* Map one page, adding the tables that are missing; panics if refused. */
void pt_map(unsigned long l4_pfn, unsigned long va, pte_t val);

long mmuext_pin(int level, unsigned long pfn);
long mmuext_unpin(unsigned long pfn);
long mmuext_simple(unsigned int cmd, unsigned long arg);

#endif
