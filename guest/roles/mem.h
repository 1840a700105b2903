/* SPDX-License-Identifier: MIT */
/* Parts of the memory role; each prints one line and fails the role if wrong. */
#ifndef MINI_ROLES_MEM_H
#define MINI_ROLES_MEM_H

#include "rt/mem.h"

/* Random maps, unmaps, remaps and protections against a model, on all vCPUs at once. */
void mem_random(unsigned long steps);
/* Pinning, hooking, sharing and tearing down tables of every level. */
void mem_tables(void);
/* decrease_reservation, populate_physmap, M2P updates, clear and copy page. */
void mem_balloon(unsigned long pages);
/* Accessed and dirty bits, and what faults look like. */
void mem_bits(void);

/* Ways to store into a page-table entry through its read-only mapping. */
enum pte_store {
	STORE_MOV,
	STORE_XCHG,
	STORE_CMPXCHG,
	STORE_BTR,
	STORE_ANDB,
	STORE_IMM0,
	NR_STORES
};
/*
 * Store by that instruction; BTR and ANDB clear PTE_RW, IMM0 stores 0. What
 * was in the entry before is returned where the instruction tells, else 0.
 * A fault the hypervisor did not take care of fails the role.
 */
pte_t pte_store(pte_t *e, pte_t val, enum pte_store how);

static inline void invlpg(unsigned long va)
{
	mmuext_simple(MMUEXT_INVLPG_LOCAL, va);
}

#endif
