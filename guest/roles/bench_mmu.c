/* SPDX-License-Identifier: MIT */
/* Page-table entries: mmu_update, update_va_mapping, trapped stores, flushes, base pointers. */
#include "roles/bench.h"
#include "rt/mem.h"
#include "rt/proc.h"
#include "rt/role.h"

#define AREA (TEST_BASE + 0x100000000UL)
#define BATCH 32

static pte_t *entry; /* of AREA, by its read-only mapping */
static uint64_t pte_rw;
static struct mmu_update to_rw, to_ro, to_np;
static struct mmu_update all_rw[BATCH], all_ro[BATCH], all_np[BATCH];
static struct multicall_entry va_rw[BATCH], va_np[BATCH];
static struct mmuext_op ext;
static unsigned long other_l4;

static void area_start(void)
{
	if (entry)
		return;
	for (unsigned int i = 0; i < BATCH; i++) {
		unsigned long va = AREA + i * PAGE_SIZE;
		uint64_t mfn = virt_to_mfn(page_alloc()), rw = MK_PTE(mfn, PTE_KERN | PTE_NX), ptr;

		pt_map(kernel_l4, va, rw);
		ptr = pte_maddr(pt_entry(kernel_l4, va, 1));
		all_rw[i] = (struct mmu_update){ptr, rw};
		all_ro[i] = (struct mmu_update){ptr, MK_PTE(mfn, PTE_KERN_RO | PTE_NX)};
		all_np[i] = (struct mmu_update){ptr, 0};
		va_rw[i] = (struct multicall_entry){.op = __HYPERVISOR_update_va_mapping,
						    .args = {va, rw}};
		va_np[i] = (struct multicall_entry){.op = __HYPERVISOR_update_va_mapping,
						    .args = {va, 0}};
	}
	to_rw = all_rw[0];
	to_ro = all_ro[0];
	to_np = all_np[0];
	pte_rw = to_rw.val;
	entry = pt_entry(kernel_l4, AREA, 1);
}

static void update(struct mmu_update *u, unsigned int n)
{
	bench_rc |= BENCH_HC4(mmu_update, u, n, 0, DOMID_SELF);
}

static void start_np(void)
{
	area_start();
	update(all_np, BATCH);
}

static void start_ro(void)
{
	area_start();
	update(all_ro, BATCH);
}

static void set_rw(void)
{
	update(&to_rw, 1);
}

static void set_ro(void)
{
	update(&to_ro, 1);
}

static void set_np(void)
{
	update(&to_np, 1);
}

static void set_all_rw(void)
{
	update(all_rw, BATCH);
}

static void set_all_ro(void)
{
	update(all_ro, BATCH);
}

static void set_all_np(void)
{
	update(all_np, BATCH);
}

static void va(uint64_t pte, unsigned long flags)
{
	bench_rc |= BENCH_HC3(update_va_mapping, AREA, pte, flags);
}

static void va_set(void)
{
	va(pte_rw, 0);
}

static void va_clear(void)
{
	va(0, 0);
}

static void va_set_flush(void)
{
	va(pte_rw, UVMF_INVLPG);
}

static void va_clear_flush(void)
{
	va(0, UVMF_INVLPG);
}

static void va_set_all(void)
{
	va(pte_rw, UVMF_INVLPG | UVMF_ALL);
}

static void va_clear_all(void)
{
	va(0, UVMF_INVLPG | UVMF_ALL);
}

static void multi_set(void)
{
	bench_rc |= BENCH_HC2(multicall, va_rw, BATCH);
}

static void multi_clear(void)
{
	bench_rc |= BENCH_HC2(multicall, va_np, BATCH);
}

static void store_rw(void)
{
	*(volatile pte_t *)entry = pte_rw;
}

static void store_np(void)
{
	*(volatile pte_t *)entry = 0;
}

static void exchange_np(void)
{
	bench_rc |= __atomic_exchange_n(entry, 0, __ATOMIC_SEQ_CST) == 0;
}

static void mmuext(void)
{
	bench_rc |= BENCH_HC4(mmuext_op, &ext, 1, 0, DOMID_SELF);
}

static void flush_start(void)
{
	ext.cmd = MMUEXT_TLB_FLUSH_LOCAL;
}

static void flush_all_start(void)
{
	ext.cmd = MMUEXT_TLB_FLUSH_ALL;
}

static void invlpg_start(void)
{
	area_start();
	ext.cmd = MMUEXT_INVLPG_LOCAL;
	ext.arg1.linear_addr = AREA;
}

static void invlpg_all_start(void)
{
	invlpg_start();
	ext.cmd = MMUEXT_INVLPG_ALL;
}

static void base_start(void)
{
	ext.cmd = MMUEXT_NEW_BASEPTR;
	ext.arg1.mfn = pfn_to_mfn(kernel_l4);
}

static struct proc *process;

static void base_other_start(void)
{
	base_start();
	process = proc_create(0, 0);
	other_l4 = pfn_to_mfn(process->kernel_l4);
}

static void base_other(void)
{
	ext.arg1.mfn = other_l4;
	mmuext();
}

static void base_back(void)
{
	ext.arg1.mfn = pfn_to_mfn(kernel_l4);
	mmuext();
}

static void base_end(void)
{
	proc_destroy(process);
}

const struct bench bench_mmu[] = {
	{.name = "mmu_update np to RW",
	 .undo_name = "mmu_update RW to np",
	 .start = start_np,
	 .op = set_rw,
	 .undo = set_np},
	{.name = "mmu_update np to RO",
	 .undo_name = "mmu_update RO to np",
	 .start = start_np,
	 .op = set_ro,
	 .undo = set_np},
	{.name = "mmu_update RO to RW",
	 .undo_name = "mmu_update RW to RO",
	 .start = start_ro,
	 .op = set_rw,
	 .undo = set_ro},
	{.name = "mmu_update of 32, per entry, np to RW",
	 .undo_name = "mmu_update of 32, per entry, RW to np",
	 .per = BATCH,
	 .start = start_np,
	 .op = set_all_rw,
	 .undo = set_all_np},
	{.name = "mmu_update of 32, per entry, np to RO",
	 .undo_name = "mmu_update of 32, per entry, RO to np",
	 .per = BATCH,
	 .start = start_np,
	 .op = set_all_ro,
	 .undo = set_all_np},
	{.name = "update_va_mapping np to RW",
	 .undo_name = "update_va_mapping RW to np",
	 .start = start_np,
	 .op = va_set,
	 .undo = va_clear},
	{.name = "update_va_mapping np to RW, INVLPG",
	 .undo_name = "update_va_mapping RW to np, INVLPG",
	 .start = start_np,
	 .op = va_set_flush,
	 .undo = va_clear_flush},
	{.name = "update_va_mapping np to RW, INVLPG on all",
	 .undo_name = "update_va_mapping RW to np, INVLPG on all",
	 .start = start_np,
	 .op = va_set_all,
	 .undo = va_clear_all},
	{.name = "multicall of 32 update_va_mapping np to RW, per entry",
	 .undo_name = "multicall of 32 update_va_mapping RW to np, per entry",
	 .per = BATCH,
	 .start = start_np,
	 .op = multi_set,
	 .undo = multi_clear},
	{.name = "trapped store np to RW",
	 .undo_name = "trapped store RW to np",
	 .start = start_np,
	 .op = store_rw,
	 .undo = store_np},
	{.name = "trapped store np to RW, before xchg",
	 .undo_name = "trapped xchg RW to np",
	 .start = start_np,
	 .op = store_rw,
	 .undo = exchange_np},
	{.name = "TLB flush, local", .start = flush_start, .op = mmuext},
	{.name = "TLB flush, all vCPUs", .start = flush_all_start, .op = mmuext},
	{.name = "INVLPG, local", .start = invlpg_start, .op = mmuext},
	{.name = "INVLPG, all vCPUs", .start = invlpg_all_start, .op = mmuext},
	{.name = "new_baseptr, the same", .start = base_start, .op = mmuext},
	{.name = "new_baseptr, another",
	 .undo_name = "new_baseptr, back",
	 .start = base_other_start,
	 .op = base_other,
	 .undo = base_back,
	 .end = base_end},
	{0},
};
