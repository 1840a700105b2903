/* SPDX-License-Identifier: MIT */
/*
 * The MMU of a simulated pCPU: walks the hardware tables in software, and caches what it found,
 * which only the hypervisor's flushes empty.
 */
#include <unistd.h>

#include "core/memory_wait.h"
#include "memsvc/memctl.h"
#include "torture.h"

static void hook(uint64_t va)
{
	struct sim_tlb *t = &tcpus[this_pcpu()->id].tlb;
	uint64_t page = va >> PAGE_SHIFT;

	if (va == UINT64_MAX)
		memset(t->e, 0, sizeof(t->e));
	else if (t->e[page % TLB_ENTRIES].key == page + 1)
		t->e[page % TLB_ENTRIES].key = 0;
	memset(t->pde, 0, sizeof(t->pde)); /* INVLPG empties the paging-structure caches, too */
}

void mmu_init(void)
{
	host_tlb_hook = hook;
	for (unsigned i = 0; i < T_MAX_CPUS; i++)
		memset(&tcpus[i].tlb, 0, sizeof(tcpus[i].tlb));
}

void mmu_flush_all(struct tcpu *t)
{
	memset(&t->tlb, 0, sizeof(t->tlb));
}

void between(void)
{
	host_service();
	tlb_serve();
	this_pcpu()->work = 0;
}

/* Instead of core/memory_wait.c: a vCPU sleeps here with its pCPU, for a moment. */
void memory_wait(struct vcpu *v, uint64_t va)
{
	(void)va;
	if (!memctl_must_wait(v->domain))
		memctl_kick();
	tcpus[this_pcpu()->id].n[S_NOMEM]++;
	usleep(50);
}

void guest_enter(void)
{
	rcu_thread_offline();
}

void guest_leave(void)
{
	rcu_thread_online();
}

/* The interrupts a guest takes. */
static void kicked(void)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	if (atomic_load(&t->req) == atomic_load(&t->done) && !atomic_load(&t->drain))
		return;
	guest_leave();
	between();
	guest_enter();
}

static uint64_t gen_of(uint64_t state)
{
	return state >> 24;
}

/* Whether the frame's content is relied on to be constant: flushed from every TLB as writable. */
static bool settled(uint64_t m, unsigned type)
{
	struct page_info *pi = page_of(MFN(m));
	uint64_t word = type == PG_DOM ? atomic_load(&frame_rec(pi)->word) : 0;

	return word & P2M_GUARD && p2m_mfn(word).v == m && atomic_load(&pi->dom.settled) == word;
}

/* What holds for a cached leaf at any time. */
static void check_leaf(uint64_t va, uint64_t hw, uint64_t gen)
{
	uint64_t m = pte_frame(hw), s = frame_state(m);
	unsigned type = s & 0xff;

	if (gen_of(s) != gen || type == PG_FREE)
		torture_fail("the TLB maps frame %lx at %lx, which was freed (state %lx)",
			     (unsigned long)m, (unsigned long)va, (unsigned long)s);
	if (hw & PTE_RW && (type == PG_SHARED || settled(m, type)))
		torture_fail("a writable TLB entry at %lx for frame %lx, which must not change",
			     (unsigned long)va, (unsigned long)m);
}

/*
 * In the direct map it is known which name an entry is for. While the name's frame may be written,
 * nobody may still see another one, lest he sees old data after new.
 */
static void check_current(struct tcpu *t, uint64_t va, uint64_t hw)
{
	struct gfn_rec *rec = va < VA_DM(T_NAMES) ? p2m_rec(tmm(t), va >> PAGE_SHIFT) : NULL;
	uint64_t word = rec ? atomic_load(&rec->word) : 0;

	if ((word & (P2M_VALID | P2M_RO)) == P2M_VALID && p2m_mfn(word).v != pte_frame(hw))
		torture_fail("the TLB maps frame %lx at %lx, while the name is at %lx, writable",
			     (unsigned long)pte_frame(hw), (unsigned long)va,
			     (unsigned long)p2m_mfn(word).v);
}

void mmu_audit(struct tcpu *t)
{
	for (unsigned i = 0; i < TLB_ENTRIES; i++) {
		uint64_t va = (t->tlb.e[i].key - 1) << PAGE_SHIFT;

		if (!t->tlb.e[i].key)
			continue;
		check_leaf(va, t->tlb.e[i].hw, t->tlb.e[i].gen);
		check_current(t, va, t->tlb.e[i].hw);
	}
}

static void check_table(uint64_t m)
{
	if ((frame_state(m) & 0xff) != PG_HWTABLE)
		torture_fail("a walk reached frame %lx, which is no table (state %lx)",
			     (unsigned long)m, (unsigned long)frame_state(m));
}

/* The L1 for @va, cached or by a walk; 0: none. */
static uint64_t find_l1(struct tcpu *t, uint64_t va)
{
	uint64_t region = (va >> 21) + 1, m = current_vcpu()->arch.kernel_root.v;
	unsigned i = va >> 21 & 7;

	if (t->tlb.pde[i].region == region) {
		if (gen_of(frame_state(t->tlb.pde[i].l1)) != t->tlb.pde[i].gen)
			torture_fail("a cached table was freed");
		return t->tlb.pde[i].l1;
	}
	for (unsigned l = 4; l > 1; l--) {
		uint64_t hw;

		check_table(m);
		hw = atomic_load(&hw_entries(page_of(MFN(m)))[pt_index(va, l)]);
		if (!(hw & PTE_P))
			return 0;
		m = pte_frame(hw);
	}
	t->tlb.pde[i].gen = gen_of(frame_state(m));
	t->tlb.pde[i].l1 = m;
	t->tlb.pde[i].region = region;
	check_table(m);
	return m;
}

static bool lookup(struct tcpu *t, uint64_t va, bool write, struct touch *out)
{
	uint64_t page = va >> PAGE_SHIFT;
	unsigned i = page % TLB_ENTRIES;

	if (t->tlb.e[i].key != page + 1 || (write && !(t->tlb.e[i].hw & PTE_RW)))
		return false;
	check_leaf(va, t->tlb.e[i].hw, t->tlb.e[i].gen);
	check_current(t, va, t->tlb.e[i].hw);
	out->m = pte_frame(t->tlb.e[i].hw);
	out->gen = t->tlb.e[i].gen;
	out->page = arch_mfn_to_virt(MFN(out->m));
	return true;
}

bool mmu_touch(struct tcpu *t, uint64_t va, bool write, struct touch *out)
{
	uint64_t page = va >> PAGE_SHIFT, tries = 0;

	for (;;) {
		uint64_t l1, hw = 0;
		uint32_t ec;

		kicked();
		if (lookup(t, va, write, out)) {
			t->n[S_HITS]++;
			return true;
		}
		t->n[S_WALKS]++;
		l1 = find_l1(t, va);
		if (l1)
			hw = atomic_load(&hw_entries(page_of(MFN(l1)))[pt_index(va, 1)]);
		if (hw & PTE_P && (!write || hw & PTE_RW)) {
			unsigned i = page % TLB_ENTRIES;

			t->tlb.e[i].hw = hw;
			t->tlb.e[i].gen = gen_of(frame_state(pte_frame(hw)));
			t->tlb.e[i].key = page + 1;
			if (lookup(t, va, write, out))
				return true;
		}
		if (++tries > 200000)
			torture_fail("the %s at %lx makes no progress (leaf %lx)",
				     write ? "write" : "read", (unsigned long)va,
				     (unsigned long)hw);
		guest_leave();
		t->n[S_FAULTS]++;
		switch (mm_fault(tmm(t), current_vcpu()->arch.kernel_root, va,
				 4u | (write ? 2u : 0u) | (unsigned)(hw & PTE_P), true, &ec)) {
		case MM_FAULT_RETRY:
			break;
		case MM_FAULT_NOMEM:
			memory_wait(current_vcpu(), va);
			break;
		default:
			between();
			guest_enter();
			return false;
		}
		between();
		guest_enter();
	}
}

void mmu_done(const struct touch *t)
{
	if (gen_of(frame_state(t->m)) != t->gen)
		torture_fail("frame %lx was freed under an access", (unsigned long)t->m);
}
