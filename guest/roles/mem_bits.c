/* SPDX-License-Identifier: MIT */
/* Accessed and dirty bits, and the faults of each kind of access. */
#include "roles/mem.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/trap.h"

#define VA (TEST_BASE + 0x400000)

static pte_t *entry;
static uint64_t *page;

static void set(pte_t flags)
{
	CHECK_EQ(pt_set(entry, flags ? MK_PTE(virt_to_mfn(page), flags) : 0), 0, "pt_set");
	invlpg(VA);
}

static pte_t ad(void)
{
	return *(volatile pte_t *)entry & (PTE_A | PTE_D);
}

static void read_ok(void)
{
	uint64_t v;

	CHECK_EQ(probe_read((void *)VA, &v), 0, "read");
	CHECK_EQ(v, page[0], "value read");
}

static void write_ok(uint64_t v)
{
	CHECK_EQ(probe_write((void *)VA, v), 0, "write");
	CHECK_EQ(page[0], v, "value written");
}

static void expect_fault(unsigned long st, unsigned long err, unsigned long cr2, const char *what)
{
	struct trap_record *t = &this_cpu()->trap;

	CHECK_EQ(st, FAULT(TRAP_PF), what);
	CHECK_EQ(t->err, err, what);
	CHECK_EQ(t->cr2, cr2, what);
}

static void test_ad(void)
{
	pte_t old;

	set(PTE_P | PTE_RW);
	CHECK_EQ(ad(), 0, "fresh entry");
	read_ok();
	CHECK_EQ(ad(), PTE_A, "after a read");
	write_ok(1);
	CHECK_EQ(ad(), PTE_A | PTE_D, "after a write");

	set(PTE_P | PTE_RW);
	write_ok(2);
	CHECK_EQ(ad(), PTE_A | PTE_D, "after a write to a fresh entry");

	set(PTE_P | PTE_RW | PTE_A);
	read_ok();
	CHECK_EQ(ad(), PTE_A, "after a read of a young entry");
	write_ok(3);
	CHECK_EQ(ad(), PTE_A | PTE_D, "after a write to a young entry");

	set(PTE_P);
	read_ok();
	CHECK_EQ(ad(), PTE_A, "after a read of a read-only entry");
	expect_fault(probe_write((void *)VA, 9), PF_PROT | PF_WRITE, VA, "write, read-only");
	CHECK_EQ(ad(), PTE_A, "after a refused write");

	/* What PRESERVE_AD is for: the bits survive an update that lacks them. */
	set(PTE_KERN);
	for (int i = 0; i < 2; i++) {
		struct mmu_update u = {
			.ptr = pte_maddr(entry) | MMU_PT_UPDATE_PRESERVE_AD,
			.val = MK_PTE(virt_to_mfn(page), PTE_P | (i ? 0 : PTE_RW)),
		};

		CHECK_EQ(hc_mmu_update(&u, 1, NULL), 0, "PRESERVE_AD");
		CHECK_EQ(ad(), PTE_A | PTE_D, "PRESERVE_AD keeps the bits");
	}
	invlpg(VA);
	expect_fault(probe_write((void *)VA, 9), PF_PROT | PF_WRITE, VA, "write after PRESERVE_AD");

	/* As a kernel unmaps: atomically take the entry, and no dirty bit is lost. */
	set(PTE_P | PTE_RW);
	write_ok(4);
	old = pte_store(entry, 0, STORE_XCHG);
	CHECK_EQ(old & (PTE_P | PTE_A | PTE_D), PTE_P | PTE_A | PTE_D, "entry taken by xchg");
	invlpg(VA);
	expect_fault(probe_write((void *)VA, 9), PF_WRITE, VA, "write after xchg");

	/* Clear the bits and flush: they come back with the next access. */
	set(PTE_KERN);
	write_ok(5);
	old = pte_store(entry, *entry & ~(PTE_A | PTE_D), STORE_CMPXCHG);
	invlpg(VA);
	CHECK_EQ(ad(), 0, "bits cleared by cmpxchg");
	read_ok();
	CHECK_EQ(ad(), PTE_A, "read after clearing");
	write_ok(6);
	CHECK_EQ(ad(), PTE_A | PTE_D, "write after clearing");
	printf("mini: mem a/d ok\n");
}

static unsigned long probe_call(unsigned long target)
{
	register unsigned long st __asm__("r15") = 0;

	/* The fault is at the target, so the table holds that address. */
	__asm__ volatile("leaq 2f(%%rip), %%rax; movq %%rax, probe_call_back(%%rip)\n"
			 "call *%1\n2:\n"
			 : "+r"(st)
			 : "r"(target)
			 : "rax", "memory");
	return st;
}

unsigned long probe_call_back;

static bool exec_hook(struct regs *r)
{
	if (r->rip != VA && r->rip != VA + PAGE_SIZE)
		return false;
	r->rsp += 8;
	r->rip = probe_call_back;
	r->r15 = FAULT(r->vec);
	return true;
}

static void test_faults(void)
{
	set(0);
	expect_fault(probe_read((void *)VA, NULL), 0, VA, "read, not present");
	expect_fault(probe_write((void *)VA, 1), PF_WRITE, VA, "write, not present");
	expect_fault(probe_read((char *)VA + 0x123, NULL), 0, VA + 0x123, "CR2 has the offset");
	set(PTE_KERN_RO);
	expect_fault(probe_write((char *)VA + 8, 1), PF_PROT | PF_WRITE, VA + 8, "read-only");
	CHECK_EQ(probe_read((void *)0x8000000000000000UL, NULL), FAULT(TRAP_GP), "non-canonical");
	CHECK_EQ(probe_read((void *)(TEST_BASE + 0x7000000000), NULL), FAULT(TRAP_PF), "no L2");

	trap_hook = exec_hook;
	*(uint8_t *)page = 0xc3; /* ret */
	set(PTE_KERN_RO);
	CHECK_EQ(probe_call(VA), 0, "execute");
	set(PTE_KERN_RO | PTE_NX);
	expect_fault(probe_call(VA), PF_PROT | PF_INSTR, VA, "execute, NX");
	/* Not present, and the fetch is told by the I bit too. */
	expect_fault(probe_call(VA + PAGE_SIZE), PF_INSTR, VA + PAGE_SIZE, "execute, not present");
	trap_hook = NULL;
	set(0);
	printf("mini: mem faults ok\n");
}

void mem_bits(void)
{
	page = page_alloc();
	pt_map(kernel_l4, VA, MK_PTE(virt_to_mfn(page), PTE_KERN));
	entry = pt_entry(kernel_l4, VA, 1);
	test_ad();
	test_faults();
	page_free(page);
}
