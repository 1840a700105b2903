/* SPDX-License-Identifier: MIT */
/* Start-of-day layout: which page of a new domain holds what. Pure arithmetic. */
#include "core/builder.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "core/xen_errno.h"

#define PADDING_PAGES (512 * 1024 / PAGE_SIZE)
#define REGION_ALIGN (4UL << 20)
#define L4_SLOT(va) (((va) >> 39) & 511)

/* Tables of one level, each covering 2^shift bytes, that map [va, va + len). */
static uint64_t tables_for(uint64_t va, uint64_t len, unsigned shift)
{
	return ((va + len - 1) >> shift) - (va >> shift) + 1;
}

/* L1, L2 and L3 tables; the L4 is counted by the caller. */
static uint64_t tables_below_l4(uint64_t va, uint64_t len)
{
	return tables_for(va, len, 21) + tables_for(va, len, 30) + tables_for(va, len, 39);
}

static bool guest_range(uint64_t va, uint64_t len)
{
	uint64_t last = va + len - 1;

	if (len == 0 || last < va)
		return false;
	if (va < HYPERVISOR_VIRT_START)
		return last >> 47 == 0;
	return va >= HYPERVISOR_VIRT_END;
}

/* The P2M goes to the address of the INIT_P2M note when that has its own slots in the L4. */
static bool p2m_goes_apart(const struct elf_kernel *k, uint64_t bytes)
{
	uint64_t p = k->init_p2m;

	if (!k->has_init_p2m || p & ~PAGE_MASK || !guest_range(p, bytes))
		return false;
	/* No mapped region is larger than 512 GiB, so two slots are all it can touch. */
	for (uint64_t s = L4_SLOT(p); s <= L4_SLOT(p + bytes - 1); s++)
		if (s == L4_SLOT(k->virt_base) || s == L4_SLOT(k->virt_base) + 1)
			return false;
	return true;
}

static uint64_t place(uint64_t *at, uint64_t pages)
{
	uint64_t pfn = *at;

	*at += pages;
	return pfn;
}

int build_layout(struct build_layout *l, const struct elf_kernel *k, uint64_t nr_pages,
		 uint64_t initrd_size, char *why, size_t why_len)
{
	uint64_t at, tables, region;

	memset(l, 0, sizeof(*l));
	l->virt_base = k->virt_base;
	l->entry = k->entry;
	l->nr_pages = nr_pages;
	l->initrd_size = initrd_size;
	l->kernel_end = at = DIV_ROUND_UP(k->kend, PAGE_SIZE);
	l->initrd_pages = DIV_ROUND_UP(initrd_size, PAGE_SIZE);
	l->initrd_mapped = l->initrd_pages && !k->mod_start_pfn;
	l->p2m_pages = DIV_ROUND_UP(nr_pages * sizeof(uint64_t), PAGE_SIZE);
	l->p2m_apart = p2m_goes_apart(k, l->p2m_pages * PAGE_SIZE);

	if (l->initrd_mapped)
		l->initrd_pfn = place(&at, l->initrd_pages);
	if (!l->p2m_apart)
		l->p2m_pfn = place(&at, l->p2m_pages);
	l->start_info_pfn = place(&at, 1);
	l->console_pfn = place(&at, 1);
	l->pt_pfn = at;
	/* The tables map themselves: grow their number until it suffices. */
	for (l->pt_pages = 0;; l->pt_pages = tables) {
		uint64_t end = l->pt_pfn + l->pt_pages + 1 + PADDING_PAGES;

		region = k->virt_base + end * PAGE_SIZE;
		if (!guest_range(k->virt_base, end * PAGE_SIZE + REGION_ALIGN)) {
			/* Only the very top of the address space may lack the alignment. */
			if (!guest_range(k->virt_base, end * PAGE_SIZE))
				goto no_room;
		} else {
			region = ROUND_UP(region, REGION_ALIGN);
		}
		tables = 1 + tables_below_l4(k->virt_base, region - k->virt_base);
		if (tables <= l->pt_pages)
			break;
	}
	at += l->pt_pages;
	l->stack_pfn = place(&at, 1);
	l->last_pfn = at + PADDING_PAGES;
	l->map_pages = (region - k->virt_base) >> PAGE_SHIFT;

	/* What is not mapped at virt_base lies behind the region, so its padding stays free. */
	at = l->map_pages;
	if (l->p2m_apart) {
		l->p2m_va = k->init_p2m;
		l->p2m_pfn = place(&at, l->p2m_pages);
		l->p2m_pt_pages = tables_below_l4(l->p2m_va, l->p2m_pages * PAGE_SIZE);
		l->p2m_pt_pfn = place(&at, l->p2m_pt_pages);
	} else {
		l->p2m_va = k->virt_base + l->p2m_pfn * PAGE_SIZE;
	}
	if (l->initrd_pages && !l->initrd_mapped)
		l->initrd_pfn = place(&at, l->initrd_pages);
	if (at > l->map_pages)
		l->last_pfn = at;

	if (l->last_pfn > nr_pages) {
		fmt_snprintf(why, why_len, "too little memory: %lu KiB, its kernel%s needs %lu KiB",
			     (unsigned long)(nr_pages * 4), l->initrd_pages ? " with initrd" : "",
			     (unsigned long)(l->last_pfn * 4));
		return -XEN_ENOMEM;
	}
	/* A small domain ends before the aligned end of its region; nothing is there to map. */
	l->map_pages = MIN(l->map_pages, nr_pages);
	return 0;

no_room:
	fmt_snprintf(why, why_len, "kernel and initrd do not fit the address space at %#lx",
		     (unsigned long)k->virt_base);
	return -XEN_ENOMEM;
}
