/* SPDX-License-Identifier: MIT */
/* x86-64 page-table entries: guest ones hold names, hardware ones hold frames. */
#ifndef MEMSVC_PTE_H
#define MEMSVC_PTE_H

#include "core/types.h"

#define PTE_P 0x001ULL
#define PTE_RW 0x002ULL
#define PTE_US 0x004ULL
#define PTE_PWT 0x008ULL
#define PTE_PCD 0x010ULL
#define PTE_A 0x020ULL
#define PTE_D 0x040ULL
#define PTE_PSE 0x080ULL
#define PTE_G 0x100ULL
#define PTE_NX (1ULL << 63)
#define PTE_ADDR 0x000ffffffffff000ULL

/* Hardware leaf only (ignored by the MMU): this mapping is in an rmap slot, not linear. */
#define HW_SLOT 0x200ULL
/* With HW_SLOT: the frame is shared, so the name is in the table's name page; see rmap.h. */
#define HW_SHARED 0x400ULL
/* Instead of P: on its way in, see sync.c. Walks of the rmap take it for an entry. */
#define HW_PENDING 0x800ULL

/* Not allowed in entries of levels 2 to 4, as in Xen: superpages, cache attributes, global. */
#define TABLE_DISALLOW (PTE_PWT | PTE_PCD | PTE_PSE | PTE_G)

#define HYP_SLOT_FIRST 256
#define HYP_SLOTS 16

static inline uint64_t pte_frame(uint64_t e)
{
	return (e & PTE_ADDR) >> PAGE_SHIFT;
}

/* Index of @va in a table of @level. */
static inline unsigned pt_index(uint64_t va, unsigned level)
{
	return va >> (PAGE_SHIFT + 9 * (level - 1)) & 511;
}

#endif
