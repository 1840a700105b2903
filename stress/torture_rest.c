/* SPDX-License-Identifier: MIT */
/* What must hold when nothing is under way. One thread plays all pCPUs. */
#include "memsvc/scan.h"
#include "memsvc/share_table.h"
#include "memsvc/swap.h"
#include "torture.h"

static int64_t swapped_names, brought_frames, events[MMC_KINDS];

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

		if (e & HW_PENDING)
			torture_fail("at rest: leaf %lx is pending", (unsigned long)e);
		if (!(e & PTE_P))
			continue;
		rec = g & PTE_P ? p2m_rec(mm, pte_frame(g)) : NULL;
		word = rec ? atomic_load(&rec->word) : 0;
		if (!(word & P2M_VALID) || p2m_mfn(word).v != pte_frame(e))
			torture_fail("at rest: leaf %lx for guest entry %lx (word %lx)",
				     (unsigned long)e, (unsigned long)g, (unsigned long)word);
		if (e & PTE_RW &&
		    (!(g & PTE_RW) || word & P2M_RO || atomic_load(&rec->pt) != PT_RW))
			torture_fail("at rest: writable leaf %lx for guest entry %lx (word %lx)",
				     (unsigned long)e, (unsigned long)g, (unsigned long)word);
	}
}

static void expect(unsigned dom, const char *what, int64_t is, int64_t counted)
{
	if (is != counted)
		torture_fail("at rest: domain %u has %ld %s and counts %ld", dom, (long)is, what,
			     (long)counted);
}

static uint32_t refs[1u << 20]; /* names that mean a shared frame */

static void check_names(unsigned dom)
{
	struct mm *mm = &odoms[dom].d->mm;
	int64_t data = 0, touched = 0, sharing = 0, zero = 0, swapped = 0, gone = 0, brought = 0;
	struct mm_stats st;

	for (uint64_t g = 0; g < T_NAMES; g++) {
		struct gfn_rec *rec = p2m_rec(mm, g);
		struct name_view v;

		if (!rec)
			continue;
		check_leaves(mm, rec);
		name_look(mm, GFN(g), &v);
		touched += v.touched;
		sharing += v.touched && v.state == NAME_SHARED;
		zero += v.touched && v.zero;
		brought += v.brought;
		swapped += v.state == NAME_SWAPPED;
		gone += v.state == NAME_GONE;
		data += v.state == NAME_PRIVATE;
		if (v.state == NAME_BREAKING)
			torture_fail("at rest: name %lu of domain %u is being broken",
				     (unsigned long)g, dom);
		if (v.state == NAME_SHARED && !v.zero)
			refs[v.mfn.v - HOST_FIRST_MFN]++;
	}
	mm_stats(mm, &st);
	expect(dom, "private frames", data, st.frames[MMK_DATA]);
	expect(dom, "touched names", touched, st.frames[MMN_TOUCHED]);
	expect(dom, "sharing names", sharing, st.frames[MMN_SHARING]);
	expect(dom, "names of the zero frame", zero, st.frames[MMN_ZERO]);
	expect(dom, "swapped names", swapped, st.frames[MMN_SWAPPED]);
	expect(dom, "given-up names", gone, st.frames[MMN_GONE]);
	expect(dom, "names that brought their shared frame", brought, st.frames[MMN_BROUGHT]);
	brought_frames += brought;
	for (unsigned k = MMN_KINDS; k < MMC_KINDS; k++)
		events[k] += st.frames[k];
	swapped_names += swapped;
}

/* Every shared frame has as many references as names mean it. */
static void check_shared(void)
{
	int64_t distinct = 0;

	for (uint64_t i = 0; i < tc.frames; i++) {
		struct page_info *pi = page_of(MFN(HOST_FIRST_MFN + i));

		if (!refs[i])
			continue;
		distinct++;
		if (page_type(pi) != PG_SHARED || share_refs(mfn_of(pi)) != refs[i])
			torture_fail("at rest: frame %lx is meant by %u names and says %u (%lx)",
				     (unsigned long)mfn_of(pi).v, refs[i], share_refs(mfn_of(pi)),
				     (unsigned long)atomic_load(&pi->state));
	}
	if (distinct != share_frames())
		torture_fail("at rest: %ld shared frames, counted %ld", (long)distinct,
			     (long)share_frames());
	if (brought_frames > distinct)
		torture_fail("at rest: %ld names brought %ld shared frames", (long)brought_frames,
			     (long)distinct);
	if (share_table_entries(true) > (uint64_t)distinct)
		torture_fail("at rest: %lu entries in the sharing table for %ld shared frames",
			     (unsigned long)share_table_entries(true), (long)distinct);
}

static void check_swap(void)
{
	struct swap_stats st;

	swap_stats(&st);
	if (st.slots != (uint64_t)swapped_names || st.waiting)
		torture_fail("at rest: %ld swapped names, %lu slots, %lu waiting",
			     (long)swapped_names, (unsigned long)st.slots,
			     (unsigned long)st.waiting);
}

/* What domains have counted, those that ended included, is what was counted for all. */
static void check_events(void)
{
	struct scan_stats s;

	scan_stats(&s);
	if (events[MMC_BROKEN] != (int64_t)share_breaks() ||
	    events[MMC_SCANNED] != (int64_t)s.scanned || events[MMC_HINTS] != (int64_t)s.hints)
		torture_fail("at rest: domains count %ld broken, %ld scanned, %ld hints; in all "
			     "there were %ld, %ld, %ld",
			     (long)events[MMC_BROKEN], (long)events[MMC_SCANNED],
			     (long)events[MMC_HINTS], (long)share_breaks(), (long)s.scanned,
			     (long)s.hints);
}

void rest_check(void)
{
	memset(refs, 0, sizeof(refs));
	swapped_names = brought_frames = 0;
	memcpy(events, mayfly_counts, sizeof(events));
	for (unsigned d = 0; d < tc.domains; d++)
		check_names(d);
	check_shared();
	check_swap();
	check_events();
	for (unsigned d = 0; d < tc.domains; d++) {
		struct tcpu *t = &tcpus[0];

		t->dom = d;
		arch_context_switch(this_pcpu()->current, odoms[d].d->vcpu[0]);
		mmu_flush_all(t);
		for (uint64_t g = N_FIRST_DATA; g < T_NAMES; g++)
			check_page(t, g);
		arch_context_switch(this_pcpu()->current, NULL);
		mmu_flush_all(t);
	}
}
