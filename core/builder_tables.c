/* SPDX-License-Identifier: MIT */
/*
 * Boot page tables, as the guest would write them: entries hold names. Table pages are mapped
 * read-only, as the ABI demands of any live table; everything else is writable, and all entries
 * are accessed and dirty from the start.
 */
#include "core/builder_impl.h"
#include "percpu/tlb.h"

#define PTE_P 0x001UL
#define PTE_RW 0x002UL
#define PTE_US 0x004UL
#define PTE_A 0x020UL
#define PTE_D 0x040UL
#define PTE_TABLE (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)
#define PTE_LEAF PTE_TABLE
#define PTE_NAME 0x000ffffffffff000UL

/* Where the next table page comes from. */
struct tables {
	struct build *b;
	uint64_t next, end; /* pfns */
};

/* The table under *@entry, made if there is none. */
static uint64_t *descend(struct tables *t, uint64_t *entry)
{
	if (!*entry) {
		BUG_ON(t->next == t->end);
		*entry = t->next++ << PAGE_SHIFT | PTE_TABLE;
	}
	return build_page(t->b, (*entry & PTE_NAME) >> PAGE_SHIFT);
}

static bool is_table(const struct build_layout *l, uint64_t pfn)
{
	return pfn - l->pt_pfn < l->pt_pages ||
	       (l->p2m_apart && pfn - l->p2m_pt_pfn < l->p2m_pt_pages);
}

static void map(struct tables *t, uint64_t va, uint64_t pfn, uint64_t pages)
{
	uint64_t *l1 = NULL;

	for (; pages; pages--, pfn++, va += PAGE_SIZE) {
		if (!l1 || !(va & 0x1fffff)) {
			uint64_t *l4 = build_page(t->b, t->b->l.pt_pfn);
			uint64_t *l3 = descend(t, &l4[va >> 39 & 511]);
			uint64_t *l2 = descend(t, &l3[va >> 30 & 511]);

			l1 = descend(t, &l2[va >> 21 & 511]);
			tlb_serve();
		}
		l1[va >> 12 & 511] = pfn << PAGE_SHIFT |
				     (is_table(&t->b->l, pfn) ? PTE_LEAF & ~PTE_RW : PTE_LEAF);
	}
}

void build_tables(struct build *b)
{
	const struct build_layout *l = &b->l;
	struct tables t = {b, l->pt_pfn + 1, l->pt_pfn + l->pt_pages};

	map(&t, l->virt_base, 0, l->map_pages);
	if (!l->p2m_apart)
		return;
	t.next = l->p2m_pt_pfn;
	t.end = l->p2m_pt_pfn + l->p2m_pt_pages;
	map(&t, l->p2m_va, l->p2m_pfn, l->p2m_pages);
}
