/* SPDX-License-Identifier: MIT */
/* The hypervisor's own page tables. Built once on pCPU 0; read-only afterwards. */
#include "core/x86/paging.h"

#include <arch/cpu.h>
#include <arch/mem.h>
#include <arch/x86.h>

#include "core/lib.h"

extern char _start[], _etext[], _erodata[], _end[];

uint64_t hyp_cr3;
uint64_t arch_hyp_l4[16];

static uint64_t *l4;
static mfn_t (*frame_alloc)(void);
static uint64_t mmio_next = MMIO_VIRT;

#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_A)
#define LEAF (X86_PTE_P | X86_PTE_A | X86_PTE_D)

static uint64_t *table_of(uint64_t *entry, uint64_t flags)
{
	if (!(*entry & X86_PTE_P))
		*entry = frame_alloc().v << PAGE_SHIFT | flags;
	return arch_mfn_to_virt(MFN((*entry & X86_PTE_ADDR) >> PAGE_SHIFT));
}

static unsigned index_of(uint64_t va, unsigned level)
{
	return va >> (PAGE_SHIFT + 9 * (level - 1)) & 511;
}

/* The entry for @va at @level, upper tables made with @flags. */
static uint64_t *entry_at(uint64_t va, unsigned level, uint64_t flags)
{
	uint64_t *t = l4;

	for (unsigned l = 4; l > level; l--)
		t = table_of(&t[index_of(va, l)], flags);
	return &t[index_of(va, level)];
}

uint64_t *paging_pte(uint64_t va)
{
	return entry_at(va, 1, TABLE);
}

void paging_map(uint64_t va, uint64_t pa, uint64_t flags)
{
	*paging_pte(va) = pa | flags | LEAF;
}

static void map_image(void)
{
	for (uint64_t va = (uint64_t)_start; va < (uint64_t)_end; va += PAGE_SIZE) {
		uint64_t flags = X86_PTE_NX | X86_PTE_RW;

		if (va < (uint64_t)_etext)
			flags = 0;
		else if (va < (uint64_t)_erodata)
			flags = X86_PTE_NX;
		paging_map(va, va - IMAGE_VIRT + IMAGE_PHYS, flags);
	}
}

void paging_init(uint64_t top, mfn_t (*alloc)(void))
{
	uint32_t r[4];

	frame_alloc = alloc;
	mfn_t root = alloc();

	l4 = arch_mfn_to_virt(root);
	map_image();

	cpuid_raw(0x80000001, 0, r);
	unsigned big = r[3] & (1u << 26) ? 3 : 2; /* 1 GiB pages when the CPU has them */
	uint64_t step = 1UL << (PAGE_SHIFT + 9 * (big - 1));

	top = MAX(top, 4UL << 30);
	for (uint64_t pa = 0; pa < top; pa += step)
		*entry_at(DIRECTMAP_VIRT + pa, big, TABLE) =
			pa | LEAF | X86_PTE_RW | X86_PTE_PSE | X86_PTE_NX;
	/* The AP trampoline runs at its physical address for a moment. */
	*entry_at(0, 2, TABLE) = LEAF | X86_PTE_RW | X86_PTE_PSE;

	hyp_cr3 = root.v << PAGE_SHIFT;
	for (unsigned i = 0; i < HYP_L4_COUNT; i++)
		arch_hyp_l4[i] = l4[HYP_L4_FIRST + i];
	write_cr3(hyp_cr3);
}

void paging_map_m2p(mfn_t first, uint64_t bytes)
{
	for (uint64_t off = 0; off < bytes; off += PAGE_SIZE)
		*entry_at(M2P_VIRT + off, 1, TABLE | X86_PTE_US) =
			((first.v << PAGE_SHIFT) + off) | LEAF | X86_PTE_US | X86_PTE_NX;
	arch_hyp_l4[0] = l4[HYP_L4_FIRST];
}

void *arch_map_mmio(uint64_t phys, size_t len)
{
	uint64_t off = phys & (PAGE_SIZE - 1);
	uint64_t va = mmio_next;
	size_t pages = DIV_ROUND_UP(off + len, PAGE_SIZE);

	BUG_ON(va + pages * PAGE_SIZE > MMIO_VIRT + MMIO_SIZE);
	for (size_t i = 0; i < pages; i++)
		paging_map(va + i * PAGE_SIZE, (phys & PAGE_MASK) + i * PAGE_SIZE,
			   X86_PTE_RW | X86_PTE_NX | X86_PTE_PCD | X86_PTE_PWT);
	mmio_next += pages * PAGE_SIZE;
	return (void *)(va + off);
}
