/* SPDX-License-Identifier: MIT */
/* Emulation of the guest's stores to its page tables. */
#include "tests/x86_emul_test.h"

TestSuite(x86_ptwrite, .init = setup);

#define ENTRY 7

static struct emul_result store(const char *hex, uint64_t at)
{
	put_code(hex);
	return ptwrite_emulate(&vcpu, &regs, at, 3);
}

static struct emul_result store_entry(const char *hex)
{
	regs.rdi = (uint64_t)&table[ENTRY];
	return store(hex, (uint64_t)&table[ENTRY]);
}

Test(x86_ptwrite, whole_entries)
{
	regs.rax = 0x123067;
	cr_assert(IS_DONE(store_entry("48 89 07"))); /* mov %rax,(%rdi) */
	cr_assert_eq(table[ENTRY], 0x123067);
	cr_assert_eq(regs.rip, 0xffffffff81000003);
	regs.rdx = 0;
	cr_assert(IS_DONE(store_entry("48 87 17"))); /* xchg %rdx,(%rdi) */
	cr_assert_eq(regs.rdx, 0x123067);
	cr_assert_eq(table[ENTRY], 0);
	cr_assert(IS_DONE(store_entry("48 c7 07 67 00 00 80"))); /* movq $imm32 */
	cr_assert_eq(table[ENTRY], 0xffffffff80000067);
	cr_assert_eq(updates, 3);
}

Test(x86_ptwrite, cmpxchg)
{
	table[ENTRY] = 0x1067;
	regs.rax = 0x1067;
	regs.rdx = 0x1065;
	cr_assert(IS_DONE(store_entry("f0 48 0f b1 17")));
	cr_assert_eq(table[ENTRY], 0x1065);
	cr_assert(regs.rflags & 0x40);
	cr_assert_eq(regs.rax, 0x1067);
	/* And one that fails: memory stays, rax gets it, ZF is clear, nothing is written. */
	cr_assert(IS_DONE(store_entry("f0 48 0f b1 17")));
	cr_assert_eq(regs.rax, 0x1065);
	cr_assert_not(regs.rflags & 0x40);
	cr_assert_eq(updates, 1);
}

Test(x86_ptwrite, bits_and_bytes)
{
	table[ENTRY] = 0x1067;
	cr_assert(IS_DONE(store_entry("f0 48 0f ba 37 01"))); /* lock btrq $1 */
	cr_assert_eq(table[ENTRY], 0x1065);
	cr_assert(regs.rflags & 1);
	table[ENTRY] = 0x1067;
	cr_assert(IS_DONE(store_entry("f0 80 27 fd"))); /* lock andb $~2 */
	cr_assert_eq(table[ENTRY], 0x1065);
	regs.rdi = (uint64_t)&table[ENTRY] + 7;
	cr_assert(IS_DONE(store("80 0f 80", regs.rdi))); /* orb $0x80: the NX bit */
	cr_assert_eq(table[ENTRY], 0x8000000000001065);
	regs.rax = 0x11223344;
	regs.rdi = (uint64_t)&table[ENTRY] + 4;
	cr_assert(IS_DONE(store("89 07", regs.rdi))); /* movl: the upper half */
	cr_assert_eq(table[ENTRY], 0x1122334400001065);
}

/* A bit number in a register reaches over the whole table, in both directions. */
Test(x86_ptwrite, far_bit)
{
	regs.rax = 64 * 3 + 5;
	regs.rdi = (uint64_t)&table[ENTRY];
	cr_assert(IS_DONE(store("48 0f ab 07", (uint64_t)&table[ENTRY + 3])));
	cr_assert_eq(table[ENTRY + 3], 1 << 5);
	regs.rax = (uint64_t)-64;
	cr_assert(IS_DONE(store("48 0f ab 07", (uint64_t)&table[ENTRY - 1])));
	cr_assert_eq(table[ENTRY - 1], 1);
	cr_assert_eq(table[ENTRY], 0);
}

Test(x86_ptwrite, segments)
{
	gs_kernel = (uint64_t)&table[ENTRY] - 0x28;
	regs.rax = 0x5067;
	cr_assert(IS_DONE(store("65 48 89 04 25 28 00 00 00", (uint64_t)&table[ENTRY])));
	cr_assert_eq(table[ENTRY], 0x5067);
}

Test(x86_ptwrite, stos)
{
	regs.rax = 0x77;
	regs.rcx = 2;
	regs.rdi = (uint64_t)&table[ENTRY];
	cr_assert(IS_DONE(store("f3 48 ab", regs.rdi)));
	cr_assert_eq(regs.rip, 0xffffffff81000000); /* one more to go */
	cr_assert_eq(regs.rcx, 1);
	cr_assert(IS_DONE(store("f3 48 ab", regs.rdi)));
	cr_assert_eq(regs.rip, 0xffffffff81000003);
	cr_assert_eq(regs.rcx, 0);
	cr_assert_eq(table[ENTRY], 0x77);
	cr_assert_eq(table[ENTRY + 1], 0x77);
	cr_assert_eq(table[ENTRY + 2], 0);
	cr_assert_eq(regs.rdi, (uint64_t)&table[ENTRY + 2]);
}

/* An A or D bit set meanwhile is neither lost nor invented. */
Test(x86_ptwrite, lost_races)
{
	table[ENTRY] = 0x1007;
	races = 3;
	race_bits = 0x60;
	regs.rdx = 0;
	cr_assert(IS_DONE(store_entry("48 87 17")));
	cr_assert_eq(regs.rdx, 0x1067);
	cr_assert_eq(table[ENTRY], 0);

	table[ENTRY] = 0x1007;
	races = 1;
	cr_assert(IS_DONE(store_entry("f0 48 0f ba 37 01")));
	cr_assert_eq(table[ENTRY], 0x1065);

	/* For ever: the guest tries again, having seen other work done. */
	races = 1000;
	regs.rdx = 0x99;
	struct emul_result r = store_entry("48 87 17");
	cr_assert_eq(r.status, EMUL_RETRY);
	cr_assert_eq(regs.rdx, 0x99);
}

Test(x86_ptwrite, refused)
{
	struct emul_result r;
	struct cpu_user_regs was;

	regs.rdi = (uint64_t)&table[ENTRY];
	refuse = -XEN_EINVAL;
	was = regs;
	r = store("48 87 07", regs.rdi);
	cr_assert_eq(r.status, EMUL_FAULT);
	cr_assert_eq(r.vector, VEC_PF);
	cr_assert_eq(r.error, 3);
	cr_assert_eq(r.cr2, (uint64_t)&table[ENTRY]);
	cr_assert_eq(memcmp(&was, &regs, sizeof(regs)), 0);
	refuse = -XEN_EFAULT; /* no page table any more */
	r = store("48 87 07", regs.rdi);
	cr_assert_eq(r.status, EMUL_RETRY);
	refuse = MM_PREEMPTED;
	r = store("48 87 07", regs.rdi);
	cr_assert_eq(r.status, EMUL_RETRY);
	cr_assert_eq(memcmp(&was, &regs, sizeof(regs)), 0);
}

Test(x86_ptwrite, not_ours)
{
	regs.rdi = (uint64_t)&table[ENTRY] + 4;
	cr_assert(IS_NOT(store("48 89 07", regs.rdi))); /* spans two entries */
	regs.rdi = (uint64_t)&table[ENTRY];
	cr_assert(IS_NOT(store("48 ff 07", regs.rdi)));		  /* inc: no form of ours */
	cr_assert(IS_NOT(store("0f 11 07", regs.rdi)));		  /* movups */
	cr_assert(IS_NOT(store("48 89 07", regs.rdi + 0x10000))); /* another address faulted */
	cr_assert(IS_NOT(store("0f 32", regs.rdi)));
	cr_assert_eq(updates, 0);
}
