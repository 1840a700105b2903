/* SPDX-License-Identifier: MIT */
/* Writes to live guest tables of levels 2 to 4: check, write the guest's entry, sync the hardware's. */
#include "memsvc/pt.h"

uint64_t guest_write_keep(_Atomic uint64_t *gp, uint64_t val, uint64_t keep)
{
	uint64_t old = atomic_load_explicit(gp, memory_order_relaxed), new;
	CAS_LOOP(loop, "guest's entry, A and D kept");

	do {
		new = (val & ~keep) | (old & keep);
	} while (!atomic_compare_exchange_weak(gp, &old, new) && retry(&loop));
	return new;
}

/* What must hold before @val is written to an upper-level entry; on 0, *@child is its table with
 * a reference (NULL when not present). */
static int prepare(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val,
		   struct page_info **child)
{
	*child = NULL;
	if (pi->hw.level == 4 && i - HYP_SLOT_FIRST < HYP_SLOTS &&
	    val != atomic_load_explicit(&pi->hw.gpt[i], memory_order_relaxed))
		return -XEN_EINVAL;
	if (!(val & PTE_P))
		return 0;
	if (val & TABLE_DISALLOW)
		return -XEN_EINVAL;
	return table_get_filled(c, pte_frame(val), pi->hw.level - 1, child);
}

int table_write(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val, uint64_t keep,
		uint64_t *seen)
{
	struct page_info *child;
	int rc = prepare(c, pi, i, val, &child);

	if (rc)
		return rc;
	/* As in leaf_write(), what the hardware's entry then lacks is mm_fault()'s to repair. */
	if (guest_write(&pi->hw.gpt[i], &val, keep, seen))
		sync_table_entry(c, pi, i);
	if (child)
		table_put(c, child);
	return 0;
}
