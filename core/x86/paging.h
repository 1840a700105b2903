/* SPDX-License-Identifier: MIT */
/* The hypervisor's own page tables (L4 slots 256..271). */
#ifndef X86_PAGING_H
#define X86_PAGING_H

#include "core/types.h"

extern uint64_t hyp_cr3;	 /* physical address of the hypervisor's L4, below 4 GiB */
extern uint64_t arch_hyp_l4[16]; /* entries 256..271, copied into every hardware L4 */

/**
 * paging_init() - build the final tables: image with W^X, direct map of [0, @top) (and at least
 * the first 4 GiB), windows. @alloc gives zeroed frames below 4 GiB. Loads them.
 */
void paging_init(uint64_t top, mfn_t (*alloc)(void));

/** paging_map() - map one 4 KiB page in a window of slot 261. @flags: X86_PTE_*. Boot only. */
void paging_map(uint64_t va, uint64_t pa, uint64_t flags);

/** paging_pte() - the L1 entry of a window address, tables made on the way. Boot only. */
uint64_t *paging_pte(uint64_t va);

/** paging_map_m2p() - show the identity M2P, @bytes from contiguous frame @first, to guests. */
void paging_map_m2p(mfn_t first, uint64_t bytes);

/** arch_map_mmio() - uncached mapping of device registers; never undone. Boot only. */
void *arch_map_mmio(uint64_t phys, size_t len);

#endif
