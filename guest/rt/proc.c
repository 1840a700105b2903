/* SPDX-License-Identifier: MIT */
/* Address spaces of user processes, and the way in and out of user mode. */
#include "rt/proc.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/role.h"

extern char user_blob_start[], user_blob_end[];

void user_enter(struct regs *r);
void user_leave(void) __attribute__((noreturn));

static unsigned long new_l4(const pte_t *upper)
{
	pte_t *l4 = page_alloc();
	unsigned long pfn = virt_to_pfn(l4);

	/* Slots 256 to 271 belong to the hypervisor. */
	for (int i = 272; upper && i < 512; i++)
		l4[i] = upper[i];
	page_make_ro(l4);
	if (mmuext_pin(4, pfn))
		panic("pin L4 %lx", pfn);
	return pfn;
}

static void *map_user(struct proc *p, unsigned long va, pte_t flags)
{
	void *page = page_alloc();

	pt_map(p->kernel_l4, va, MK_PTE(virt_to_mfn(page), flags));
	return page;
}

struct proc *proc_create(unsigned long arg0, unsigned long arg1)
{
	struct proc *p = page_alloc();
	unsigned long len = (unsigned long)(user_blob_end - user_blob_start);
	pte_t *lower;

	p->kernel_l4 = new_l4((pte_t *)pfn_to_virt(kernel_l4));
	p->user_l4 = new_l4(NULL);
	for (unsigned long off = 0; off < len; off += PAGE_SIZE) {
		void *page = map_user(p, USER_TEXT + off, PTE_USER_RO);

		memcpy(page, user_blob_start + off, PAGE_SIZE);
	}
	p->data = map_user(p, USER_DATA, PTE_USER | PTE_NX);
	map_user(p, USER_STACK - PAGE_SIZE, PTE_USER | PTE_NX);

	/* One L3 for the lower half, under both L4s. */
	lower = pt_entry(p->kernel_l4, 0, 4);
	if (pt_set((pte_t *)pfn_to_virt(p->user_l4), *lower))
		panic("share L3");

	p->regs.rip = USER_TEXT;
	p->regs.rsp = USER_STACK - 64;
	p->regs.rdi = arg0;
	p->regs.rsi = arg1;
	p->regs.rflags = 0x202;
	p->regs.cs = FLAT_USER_CS;
	p->regs.ss = FLAT_USER_SS;
	*(uint16_t *)&p->fx[0] = 0x37f;
	*(uint32_t *)&p->fx[24] = 0x1f80;
	return p;
}

static void free_tree(pte_t *table, int level, int entries)
{
	for (int i = 0; i < entries; i++) {
		unsigned long pfn;
		pte_t e = table[i];

		if (!(e & PTE_P))
			continue;
		pfn = mfn_to_pfn(PTE_MFN(e));
		if (level > 1) {
			free_tree(pfn_to_virt(pfn), level - 1, 512);
			pt_page_free(pfn_to_virt(pfn));
		} else {
			page_free(pfn_to_virt(pfn));
		}
	}
}

void proc_destroy(struct proc *p)
{
	pte_t *k = pfn_to_virt(p->kernel_l4), *u = pfn_to_virt(p->user_l4);

	mmuext_simple(MMUEXT_NEW_BASEPTR, pfn_to_mfn(kernel_l4));
	mmuext_simple(MMUEXT_NEW_USER_BASEPTR, 0);
	if (mmuext_unpin(p->kernel_l4) || mmuext_unpin(p->user_l4))
		panic("unpin L4");
	page_make_rw(u);
	page_free(u);
	free_tree(k, 4, 256);
	page_make_rw(k);
	page_free(k);
	page_free(p);
}

static void set_base(int which, unsigned long base)
{
	if (HC2(set_segment_base, which, base))
		panic("set_segment_base %d %lx", which, base);
}

unsigned long proc_run(struct proc *p)
{
	struct cpu *c = this_cpu();
	struct mmuext_op op[2] = {
		{.cmd = MMUEXT_NEW_BASEPTR, .arg1.mfn = pfn_to_mfn(p->kernel_l4)},
		{.cmd = MMUEXT_NEW_USER_BASEPTR, .arg1.mfn = pfn_to_mfn(p->user_l4)},
	};
	bool was = events_save_mask();
	long rc;

	rc = hc_mmuext(op, 2, NULL);
	if (rc)
		panic("switch address space: %ld", rc);
	if (!p->bases_by_hand) {
		set_base(SEGBASE_FS, p->fs_base);
		set_base(SEGBASE_GS_USER, p->gs_base);
	}
	c->proc = p;
	if (p->fpu_off)
		HC1(fpu_taskswitch, 1);
	else
		__asm__ volatile("fxrstor64 %0" ::"m"(p->fx));
	user_enter(&p->regs);
	/* The hypervisor clears TS when it delivers #NM; a trap of another kind leaves it. */
	if (p->fpu_off)
		HC1(fpu_taskswitch, 0);
	else
		__asm__ volatile("fxsave64 %0" : "=m"(p->fx));
	c->proc = NULL;
	p->trap = c->trap;
	events_restore_mask(was);
	return p->trap.vec;
}

void proc_trapped(struct regs *r)
{
	this_cpu()->proc->regs = *r;
	user_leave();
}
