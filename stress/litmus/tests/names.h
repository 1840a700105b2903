/* SPDX-License-Identifier: MIT */
/* A domain with a page table, for the litmus tests. */
#ifndef STRESS_LITMUS_NAMES_H
#define STRESS_LITMUS_NAMES_H

#include "memsvc/name.h"

#include "memsvc/pt.h"
#include "stress/litmus/tests/world.h"

#define TABLE 10 /* name of an L1 */
#define NAME 20	 /* what its entries map */
#define FLAGS (PTE_P | PTE_RW | PTE_A | PTE_D)

static struct domain *dom;
static struct mm *mm;
static struct page_info *table;
static unsigned at; /* entry: linear or not */

static inline void setup(unsigned cpus)
{
	world_memory(cpus);
	dom = world_domain("a", cpus, 64);
	mm = &dom->mm;
	world_settle();
	/* A vCPU's unfinished work is its own. */
	for (unsigned i = 0; i < cpus; i++)
		pcpu_get(i)->current = dom->vcpu[i];
	at = 3;
	if (mm_pin(mm, GFN(TABLE), 1))
		litmus_fail("not pinned");
	table = pt_of(p2m_rec(mm, TABLE));
}

static inline uint64_t hw(void)
{
	return atomic_load(&hw_entries(table)[at]);
}

#endif
