/* SPDX-License-Identifier: MIT */
/* The guest's own GDT and LDT: installed, changed, used by user and kernel mode. */
#include "roles/proc.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/time.h"
#include "user/user.h"

#define GDT_INDEX 10
#define LDT_INDEX 3

/* A writable 4 GiB data segment for ring 3 at a base, as thread-local storage has it. */
static uint64_t tls_descriptor(uint32_t base)
{
	return 0x00cff2000000ffffULL | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(base >> 24) << 56;
}

static uint64_t read_fs(unsigned int sel)
{
	uint64_t v;

	__asm__ volatile("movw %w1, %%fs; movq %%fs:0, %0" : "=r"(v) : "r"(sel));
	return v;
}

static void update(void *table, unsigned int idx, uint64_t desc)
{
	CHECK_EQ(HC2(update_descriptor, (virt_to_mfn(table) << PAGE_SHIFT) + idx * 8, desc), 0,
		 "update_descriptor");
}

void proc_desc_tests(void)
{
	struct proc *p = proc_create(USER_ECHO, 0);
	uint64_t *gdt = page_alloc(), *ldt = page_alloc(), *data = (uint64_t *)p->data;
	xen_pfn_t frame = virt_to_mfn(gdt);
	struct mmuext_op op = {.cmd = MMUEXT_SET_LDT};
	unsigned int gsel = GDT_INDEX * 8 + 3, lsel = LDT_INDEX * 8 + 7;

	data[0] = 1;
	expect_report(p, 1, "process for the segments"); /* its address space stays loaded */
	data[16] = 0x1616;
	data[32] = 0x3232;
	ldt[LDT_INDEX] = tls_descriptor(USER_DATA + 32 * 8);
	page_make_ro(gdt);
	page_make_ro(ldt);
	CHECK_EQ(HC2(set_gdt, &frame, 512), 0, "set_gdt");
	update(gdt, GDT_INDEX, tls_descriptor(USER_DATA + 16 * 8));
	CHECK_EQ(read_fs(gsel), 0x1616, "segment of the GDT");
	op.arg1.linear_addr = (unsigned long)ldt;
	op.arg2.nr_ents = 512;
	CHECK_EQ(hc_mmuext(&op, 1, NULL), 0, "SET_LDT");
	CHECK_EQ(read_fs(lsel), 0x3232, "segment of the LDT");
	/* The vCPU leaves its pCPU and comes back, with both tables and the selector. */
	sleep_until(time_ns() + 1000000);
	CHECK_EQ(read_fs(gsel), 0x1616, "segment of the GDT after a sleep");
	CHECK_EQ(read_fs(lsel), 0x3232, "segment of the LDT after a sleep");
	update(gdt, GDT_INDEX, tls_descriptor(USER_DATA + 32 * 8));
	CHECK_EQ(read_fs(gsel), 0x3232, "changed segment of the GDT");
	update(ldt, LDT_INDEX, tls_descriptor(USER_DATA + 16 * 8));
	CHECK_EQ(read_fs(lsel), 0x1616, "changed segment of the LDT");

	/* In user mode too: FS comes from the selector. */
	p->bases_by_hand = true;
	p->regs.rip = USER_TEXT;
	p->regs.rdi = USER_SEG;
	HC2(set_segment_base, SEGBASE_GS_USER, USER_DATA);
	read_fs(lsel);
	expect_report(p, 0x1616, "LDT segment in user mode");

	/*
	 * A vCPU that is switched out with a selector of a table that is gone comes back through
	 * the failsafe callback, as it should: no such selector may be loaded from here on.
	 */
	PROBE("movw %w1, %%fs", "r"(0));
	op.arg1.linear_addr = 0;
	op.arg2.nr_ents = 0;
	CHECK_EQ(hc_mmuext(&op, 1, NULL), 0, "drop the LDT");
	CHECK_EQ(PROBE("movw %w1, %%fs", "r"(lsel)), FAULT(TRAP_GP), "selector of no LDT");
	CHECK_EQ(HC2(set_gdt, NULL, 0), 0, "drop the GDT");
	CHECK_EQ(PROBE("movw %w1, %%fs", "r"(gsel)), FAULT(TRAP_GP), "selector of no GDT");
	CHECK_EQ(this_cpu()->trap.err, GDT_INDEX * 8, "error code of a bad selector");
	pt_page_free(gdt);
	pt_page_free(ldt);
	proc_destroy(p);
	printf("mini: proc descriptor tables ok\n");
}
