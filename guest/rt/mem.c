/* SPDX-License-Identifier: MIT */
/* Boot memory: p2m and m2p, the direct map, the page allocator. */
#include "rt/mem.h"
#include "rt/balloon.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/trap.h"
#include <stdatomic.h>

struct start_info *start_info;
unsigned long nr_pages, kernel_l4, dmap_base;

extern char image_end[];

static unsigned long *p2m;
static unsigned long boot_pt_first, boot_pt_end; /* bootstrap page tables */
static unsigned long pt_first, pt_next;		 /* the direct map's page tables */
static unsigned long boot_end;			 /* first pfn not mapped at KERNEL_BASE */
static unsigned long dmapped;			 /* pfns below have a direct mapping */

static atomic_flag lock = ATOMIC_FLAG_INIT;
static unsigned long bump, bump_end; /* pages that nobody has had yet */
/* Pages that were given back: a bit each, so that a free page is never touched. */
static unsigned long *freed, freed_words, freed_hint, freed_count;

unsigned long pfn_to_mfn(unsigned long pfn)
{
	return p2m[pfn];
}

void set_p2m(unsigned long pfn, unsigned long mfn)
{
	p2m[pfn] = mfn;
}

unsigned long mfn_to_pfn(unsigned long mfn)
{
	uint64_t pfn;

	if (mfn >= MACH2PHYS_NR_ENTRIES || probe_read(&machine_to_phys_mapping[mfn], &pfn))
		return ~0UL;
	return pfn;
}

unsigned long virt_to_pfn(const volatile void *va)
{
	unsigned long a = (unsigned long)va;

	return (a >= KERNEL_BASE ? a - KERNEL_BASE : a - DMAP_BASE) >> PAGE_SHIFT;
}

static void *boot_virt(unsigned long pfn)
{
	return (void *)(KERNEL_BASE + (pfn << PAGE_SHIFT));
}

static void must(long rc, const char *what)
{
	if (rc)
		panic("%s: %ld", what, rc);
}

/* The next page for the direct map's tables, by a mapping that exists already. */
static pte_t *early_table(unsigned long *pfn)
{
	void *p;

	*pfn = pt_next++;
	if (*pfn < boot_end)
		p = boot_virt(*pfn);
	else if (*pfn < dmapped)
		p = pfn_to_virt(*pfn);
	else
		panic("no mapping for early page table %lx", *pfn);
	return memset(p, 0, PAGE_SIZE);
}

/* Make every mapping of a finished table read-only. */
static void early_seal(unsigned long pfn)
{
	pte_t val = MK_PTE(p2m[pfn], PTE_KERN_RO);

	if (pfn < boot_end)
		must(hc_update_va((unsigned long)boot_virt(pfn), val, UVMF_INVLPG), "seal");
	if (pfn < dmapped && (dmap_base != KERNEL_BASE || pfn >= boot_end))
		must(hc_update_va((unsigned long)pfn_to_virt(pfn), val, UVMF_INVLPG), "seal");
}

static void early_hook(unsigned long table_pfn, unsigned int index, unsigned long child)
{
	struct mmu_update u = {
		.ptr = (p2m[table_pfn] << PAGE_SHIFT) + index * 8 + MMU_NORMAL_PT_UPDATE,
		.val = MK_PTE(p2m[child], PTE_TABLE),
	};

	must(hc_mmu_update(&u, 1, NULL), "hook page table");
}

/* The table that an entry of another refers to, made if there is none. */
static unsigned long early_child(unsigned long table, unsigned int index)
{
	pte_t e = ((pte_t *)(table < boot_end ? boot_virt(table) : pfn_to_virt(table)))[index];
	unsigned long child;

	if (e & PTE_P)
		return machine_to_phys_mapping[PTE_MFN(e)];
	early_table(&child);
	early_seal(child);
	early_hook(table, index, child);
	return child;
}

static void build_direct_map(void)
{
	if (dmap_base == KERNEL_BASE)
		dmapped = boot_end;
	if (dmapped % 512 && dmapped != nr_pages)
		panic("boot mappings end within a table, at %lx", boot_end);
	for (unsigned long pfn = dmapped; pfn < nr_pages; pfn += 512) {
		unsigned long n = nr_pages - pfn < 512 ? nr_pages - pfn : 512, l2, l1;
		unsigned long va = (unsigned long)pfn_to_virt(pfn);
		pte_t *t;

		l2 = early_child(early_child(kernel_l4, va >> 39 & 511), va >> 30 & 511);
		t = early_table(&l1);
		for (unsigned long i = 0; i < n; i++) {
			unsigned long p = pfn + i;
			bool table = (p >= boot_pt_first && p < boot_pt_end) ||
				     (p >= pt_first && p < pt_next);

			t[i] = MK_PTE(p2m[p], (table ? PTE_KERN_RO : PTE_KERN) | PTE_NX);
		}
		early_seal(l1);
		early_hook(l2, va >> 21 & 511, l1);
		dmapped = pfn + n;
	}
}

/* Free pages keep their mapping in a direct map elsewhere only. */
static void drop_boot_aliases(unsigned long from)
{
	struct mmu_update u[64];
	unsigned int n = 0;

	for (unsigned long pfn = from; pfn < boot_end; pfn++) {
		u[n].ptr = pte_maddr(pt_entry(kernel_l4, (unsigned long)boot_virt(pfn), 1));
		u[n++].val = 0;
		if (n == ARRAY_LEN(u) || pfn + 1 == boot_end) {
			must(hc_mmu_update(u, n, NULL), "drop boot mappings");
			n = 0;
		}
	}
	mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
}

/* How far the builder mapped memory; read from its page tables, at KERNEL_BASE. */
static unsigned long find_boot_end(unsigned long pfn)
{
	for (; pfn < nr_pages; pfn++) {
		unsigned long va = (unsigned long)boot_virt(pfn);
		pte_t *t = (pte_t *)start_info->pt_base, e = 0;

		for (int level = 4; level >= 1; level--) {
			e = t[va >> (12 + 9 * (level - 1)) & 511];
			if (!(e & PTE_P))
				return pfn;
			t = boot_virt(machine_to_phys_mapping[PTE_MFN(e)]);
		}
	}
	return pfn;
}

static unsigned long later(unsigned long end, unsigned long va, unsigned long bytes)
{
	unsigned long last;

	if (va < KERNEL_BASE || (va - KERNEL_BASE) >> PAGE_SHIFT >= nr_pages)
		return end;
	last = (va + bytes - KERNEL_BASE + PAGE_SIZE - 1) >> PAGE_SHIFT;
	return last > end ? last : end;
}

void mem_init(struct start_info *si)
{
	unsigned long first;

	start_info = si;
	nr_pages = si->nr_pages;
	p2m = (unsigned long *)si->mfn_list;
	kernel_l4 = virt_to_pfn((void *)si->pt_base);
	boot_pt_first = kernel_l4;
	boot_pt_end = kernel_l4 + si->nr_pt_frames;

	/* The bootstrap elements; one page more than the tables, for the boot stack. */
	first = later(0, (unsigned long)image_end, 0);
	first = later(first, (unsigned long)si, PAGE_SIZE);
	first = later(first, si->pt_base, (si->nr_pt_frames + 1) * PAGE_SIZE);
	first = later(first, si->mfn_list, nr_pages * sizeof(long));
	if (si->mod_len && !(si->flags & SIF_MOD_START_PFN))
		first = later(first, si->mod_start, si->mod_len);
	if (!(si->flags & SIF_INITDOMAIN)) {
		first = later(first, (unsigned long)boot_virt(mfn_to_pfn(si->console.domU.mfn)),
			      PAGE_SIZE);
		first = later(first, (unsigned long)boot_virt(mfn_to_pfn(si->store_mfn)),
			      PAGE_SIZE);
	}
	boot_end = find_boot_end(first);
	pt_first = pt_next = first;
	dmap_base = nr_pages << PAGE_SHIFT <= KERNEL_ROOM ? KERNEL_BASE : DMAP_BASE;
	build_direct_map();
	if (dmap_base != KERNEL_BASE)
		drop_boot_aliases(pt_next);
	bump = pt_next;
	bump_end = nr_pages;
	freed_words = (nr_pages + 63) / 64;
	freed = pages_alloc((freed_words * 8 + PAGE_SIZE - 1) / PAGE_SIZE);
}

static void lock_alloc(bool *was)
{
	*was = events_save_mask();
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		cpu_relax();
}

static void unlock_alloc(bool was)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
	events_restore_mask(was);
}

void *pages_alloc(unsigned long n)
{
	unsigned long pfn;
	bool was;

	lock_alloc(&was);
	pfn = bump;
	if (bump_end - bump < n) {
		unlock_alloc(was);
		panic("out of memory (%lu pages in all)", nr_pages);
	}
	bump += n;
	unlock_alloc(was);
	return memset(pfn_to_virt(pfn), 0, n * PAGE_SIZE);
}

/* With the lock held; there is one. */
static unsigned long take_freed(void)
{
	unsigned long w = freed_hint, bit;

	while (!freed[w])
		w = (w + 1) % freed_words;
	bit = (unsigned long)__builtin_ctzl(freed[w]);
	freed[w] &= freed[w] - 1;
	freed_hint = w;
	freed_count--;
	return w * 64 + bit;
}

void *page_try_alloc(unsigned long keep)
{
	unsigned long pfn = ~0UL;
	bool was;

	lock_alloc(&was);
	if (bump_end - bump + freed_count > keep)
		pfn = freed_count ? take_freed() : bump++;
	unlock_alloc(was);
	return pfn == ~0UL ? NULL : memset(pfn_to_virt(pfn), 0, PAGE_SIZE);
}

void *page_alloc(void)
{
	for (;;) {
		void *p = page_try_alloc(0);

		if (p)
			return p;
		if (!balloon_relieve())
			panic("out of memory (%lu pages in all, %lu in the balloon)", nr_pages,
			      balloon_pages());
	}
}

bool page_take(unsigned long keep, unsigned long *pfn)
{
	bool was, got;

	lock_alloc(&was);
	got = bump_end - bump + freed_count > keep;
	if (got)
		*pfn = freed_count ? take_freed() : --bump_end;
	unlock_alloc(was);
	return got;
}

void page_give(unsigned long pfn)
{
	bool was;

	lock_alloc(&was);
	freed[pfn / 64] |= 1UL << pfn % 64;
	freed_hint = pfn / 64;
	freed_count++;
	unlock_alloc(was);
}

void page_free(void *page)
{
	page_give(virt_to_pfn(page));
}

unsigned long pages_left(void)
{
	return bump_end - bump + freed_count;
}
