/* SPDX-License-Identifier: MIT */
/* What must hold when nothing is under way. One thread plays all pCPUs. */
#include "torture.h"

/* Every entry of every live L1 maps what its guest entry names, and no more than it permits. */
static void check_leaves(struct mm *mm, struct gfn_rec *table)
{
	struct page_info *pi = pt_of(table);
	_Atomic uint64_t *hw;

	if (!pi || pi->hw.level != 1)
		return;
	hw = hw_entries(pi);
	for (unsigned i = 0; i < 512; i++) {
		uint64_t e = atomic_load(&hw[i]), g = atomic_load(&pi->hw.gpt[i]), word;
		struct gfn_rec *rec;

		if (!(e & PTE_P))
			continue;
		rec = g & PTE_P ? p2m_rec(mm, pte_frame(g)) : NULL;
		word = rec ? atomic_load(&rec->word) : 0;
		if (!(word & P2M_VALID) || p2m_mfn(word).v != pte_frame(e))
			torture_fail("at rest: leaf %lx for guest entry %lx (word %lx)",
				     (unsigned long)e, (unsigned long)g, (unsigned long)word);
		if (e & PTE_RW && (!(g & PTE_RW) || word & P2M_RO || atomic_load(&rec->pt)))
			torture_fail("at rest: writable leaf %lx for guest entry %lx (word %lx)",
				     (unsigned long)e, (unsigned long)g, (unsigned long)word);
	}
}

static void check_names(unsigned dom)
{
	struct mm *mm = &odoms[dom].d->mm;
	struct mm_stats st;
	int64_t data = 0;

	for (uint64_t g = 0; g < T_NAMES; g++) {
		struct gfn_rec *rec = p2m_rec(mm, g);
		uint64_t word = rec ? atomic_load(&rec->word) : 0;

		if (!rec)
			continue;
		check_leaves(mm, rec);
		if (!(word & P2M_VALID))
			continue;
		if ((frame_state(p2m_mfn(word).v) & 0xff) == PG_DOM)
			data++;
	}
	mm_stats(mm, &st);
	if (data != st.frames[MMK_DATA])
		torture_fail("at rest: domain %u has %ld frames and counts %ld", dom, (long)data,
			     (long)st.frames[MMK_DATA]);
}

void rest_check(void)
{
	for (unsigned d = 0; d < tc.domains; d++) {
		struct tcpu *t = &tcpus[0];

		check_names(d);
		t->dom = d;
		arch_context_switch(this_pcpu()->current, odoms[d].d->vcpu[0]);
		mmu_flush_all(t);
		for (uint64_t g = N_FIRST_DATA; g < T_NAMES; g++)
			check_page(t, g);
		arch_context_switch(this_pcpu()->current, NULL);
		mmu_flush_all(t);
	}
}
