/* SPDX-License-Identifier: MIT */
/* Emulation of privileged instructions. */
#include "tests/x86_emul_test.h"

TestSuite(x86_emul, .init = setup);

static struct emul_result priv(const char *hex, bool kernel)
{
	put_code(hex);
	return emul_privop(&vcpu, &regs, kernel);
}

static struct emul_result rdmsr_of(uint32_t msr)
{
	regs.rcx = msr;
	return priv("0f 32", true);
}

static struct emul_result wrmsr_of(uint32_t msr, uint64_t val)
{
	regs.rcx = msr;
	regs.rax = (uint32_t)val | 0xdead00000000; /* the upper halves do not count */
	regs.rdx = val >> 32 | 0xbeef00000000;
	return priv("0f 30", true);
}

Test(x86_emul, rip_rf_and_single_step)
{
	regs.rflags |= X86_FLAGS_RF;
	cr_assert(IS_DONE(rdmsr_of(MSR_EFER)));
	cr_assert_eq(regs.rip, 0xffffffff81000002);
	cr_assert_eq(regs.rflags, 0x202);
	regs.rflags |= X86_FLAGS_TF;
	struct emul_result r = rdmsr_of(MSR_EFER);
	cr_assert(IS_EXC(r, VEC_DB));
	cr_assert_eq(regs.rip, 0xffffffff81000004); /* a trap: after the instruction */
}

Test(x86_emul, user_mode_gets_nothing)
{
	static const char *const insns[] = {
		"0f 32", "0f 30",    "0f 20 c0", "0f 22 c0", "0f 21 c0", "0f 23 c0",
		"0f 06", "0f 01 d1", "0f 09",	 "fa",	     "fb",	 "ec",
		"ee",	 "6c",	     "6e",	 "f4",	     "0f 01 38"};

	vcpu.arch.iopl = 1;
	regs.rcx = MSR_EFER;
	for (size_t i = 0; i < ARRAY_SIZE(insns); i++) {
		struct cpu_user_regs was = regs;
		struct emul_result r = priv(insns[i], false);

		cr_assert(IS_NOT(r), "%s", insns[i]);
		cr_assert_eq(memcmp(&was, &regs, sizeof(regs)), 0, "%s", insns[i]);
	}
}

Test(x86_emul, never_emulated)
{
	static const char *const insns[] = {"f4",	"0f 01 38", "0f 01 f8", "48 0f 07",
					    "0f 01 10", "0f 00 d0", "0f 33",	"0f 01 f0",
					    "0f 08",	"48 89 07", "90",	"cc"};

	vcpu.arch.iopl = 3;
	for (size_t i = 0; i < ARRAY_SIZE(insns); i++) {
		struct emul_result r = priv(insns[i], true);

		cr_assert(IS_NOT(r), "%s", insns[i]);
		cr_assert_eq(regs.rip, 0xffffffff81000000);
	}
}

Test(x86_emul, msr_bases)
{
	cr_assert(IS_DONE(wrmsr_of(MSR_GS_BASE, 0xffff888012345678)));
	cr_assert_eq(gs_kernel, 0xffff888012345678);
	cr_assert(IS_DONE(wrmsr_of(MSR_KERNEL_GS_BASE, 0x7fff12345678)));
	cr_assert_eq(gs_user, 0x7fff12345678);
	cr_assert(IS_DONE(wrmsr_of(MSR_FS_BASE, 0x123)));
	cr_assert_eq(fs_base, 0x123);
	struct emul_result r = wrmsr_of(MSR_FS_BASE, 1ULL << 47);
	cr_assert(IS_EXC(r, VEC_GP));
	regs.rax = regs.rdx = ~0ULL;
	cr_assert(IS_DONE(rdmsr_of(MSR_GS_BASE)));
	cr_assert_eq(regs.rax, 0x12345678); /* zero-extended */
	cr_assert_eq(regs.rdx, 0xffff8880);
}

Test(x86_emul, msr_policy)
{
	struct emul_result r;

	cr_assert(IS_DONE(rdmsr_of(MSR_EFER)));
	cr_assert_eq(regs.rax, 0xd01);
	cr_assert(IS_DONE(wrmsr_of(MSR_EFER, 0xd01)));
	r = wrmsr_of(MSR_EFER, 0x501); /* no NX: no */
	cr_assert(IS_EXC(r, VEC_GP));
	cr_assert(IS_DONE(rdmsr_of(MSR_PAT)));
	cr_assert_eq(regs.rax | regs.rdx << 32, 0x0000050100070406);
	r = wrmsr_of(MSR_PAT, 0x0007040600070406);
	cr_assert(IS_EXC(r, VEC_GP));
	cr_assert(IS_DONE(rdmsr_of(MSR_APIC_BASE)));
	cr_assert_eq(regs.rax, 0xfee00900);
	vcpu.id = 1;
	cr_assert(IS_DONE(rdmsr_of(MSR_APIC_BASE)));
	cr_assert_eq(regs.rax, 0xfee00800);

	static const uint32_t unknown[] = {
		0,	    0x3a,	0x48,	    0xfe,	0x174,	    0x200,
		0x2ff,	    0x6e0,	0x800,	    0x808,	0xc0000081, 0xc0000082,
		0xc0000084, 0xc0000103, 0xc0010114, 0x40000001, 0xdeadbeef};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		r = rdmsr_of(unknown[i]);
		cr_assert(IS_EXC(r, VEC_GP), "rdmsr %x", unknown[i]);
		r = wrmsr_of(unknown[i], 0);
		cr_assert(IS_EXC(r, VEC_GP), "wrmsr %x", unknown[i]);
	}
}

Test(x86_emul, hypercall_page)
{
	cr_assert(IS_DONE(wrmsr_of(0x40000000, 5 << 12)));
	cr_assert_eq(filled, arch_mfn_to_virt(MFN(77)));
	filled = NULL;
	struct emul_result r = wrmsr_of(0x40000000, 6 << 12); /* not its frame */
	cr_assert(IS_EXC(r, VEC_GP));
	cr_assert_eq(asked_gfn, 6);
	r = wrmsr_of(0x40000000, 5 << 12 | 1); /* there is no second page */
	cr_assert(IS_EXC(r, VEC_GP));
	cr_assert_null(filled);
}

Test(x86_emul, control_registers)
{
	struct emul_result r;

	cr_assert(IS_DONE(priv("0f 20 c0", true)));
	cr_assert_eq(regs.rax, 0x80050033);
	regs.rax |= X86_CR0_TS;
	cr_assert(IS_DONE(priv("0f 22 c0", true)));
	cr_assert_eq(last_ts, 1);
	cr_assert(IS_DONE(priv("0f 06", true)));
	cr_assert_eq(last_ts, 0);
	regs.rax &= ~X86_CR0_WP;
	r = priv("0f 22 c0", true);
	cr_assert(IS_EXC(r, VEC_GP));

	info.arch.cr2 = 0xabc;
	cr_assert(IS_DONE(priv("0f 20 d1", true))); /* mov %cr2,%rcx */
	cr_assert_eq(regs.rcx, 0xabc);
	cr_assert(IS_DONE(priv("41 0f 20 df", true))); /* mov %cr3,%r15 */
	cr_assert_eq(regs.r15, 0x42000);
	r = priv("0f 22 d8", true); /* mov %rax,%cr3: no L4 */
	cr_assert(IS_EXC(r, VEC_GP));
	cr_assert_eq(vcpu.arch.kernel_l4.v, 0x42);
	regs.rax = 0x50000;
	cr_assert(IS_DONE(priv("0f 22 d8", true)));
	cr_assert_eq(vcpu.arch.kernel_l4.v, 0x50);
	cr_assert_eq(put_gfn, 0x42); /* the old one's reference */
	regs.rax = 0x51000;
	uint64_t rip = regs.rip;
	r = priv("0f 22 d8", true);
	cr_assert_eq(r.status, EMUL_RETRY);
	cr_assert_eq(regs.rip, rip);
	cr_assert(IS_DONE(priv("0f 22 d8", true)));
	cr_assert_eq(vcpu.arch.kernel_l4.v, 0x51);
	r = priv("44 0f 20 c0", true); /* mov %cr8,%rax */
	cr_assert(IS_EXC(r, VEC_GP));

	regs.rax = ~0ULL;
	cr_assert(IS_DONE(priv("0f 22 e0", true)));
	cr_assert_eq(vcpu.arch.ctrlreg[4], 0x50668); /* DE MCE PAE FXSR XMM FSGSBASE OSXSAVE */
	regs.rax = 0;
	cr_assert(IS_DONE(priv("0f 22 e0", true)));
	cr_assert_eq(vcpu.arch.ctrlreg[4], 0x20); /* PAE stays */
}

Test(x86_emul, debug_registers)
{
	struct emul_result r;

	vcpu.arch.dr[6] = 0xffff0ff0;
	cr_assert(IS_DONE(priv("0f 21 f0", true)));
	cr_assert_eq(regs.rax, 0xffff0ff0);
	regs.rax = 0;
	cr_assert(IS_DONE(priv("0f 21 e0", true))); /* dr4 is dr6 */
	cr_assert_eq(regs.rax, 0xffff0ff0);
	cr_assert(IS_DONE(priv("0f 23 e8", true))); /* dr5 is dr7 */
	cr_assert_eq(last_dr, 7);
	vcpu.arch.ctrlreg[4] |= X86_CR4_DE;
	r = priv("0f 21 e0", true);
	cr_assert(IS_EXC(r, VEC_UD));
	regs.rax = 0xbad;
	r = priv("0f 23 c0", true);
	cr_assert(IS_EXC(r, VEC_GP));
}

Test(x86_emul, xsetbv)
{
	struct emul_result r = priv("0f 01 d1", true);

	cr_assert(IS_EXC(r, VEC_UD)); /* CR4.OSXSAVE is clear */
	vcpu.arch.ctrlreg[4] |= X86_CR4_OSXSAVE;
	regs.rax = 7;
	cr_assert(IS_DONE(priv("0f 01 d1", true)));
	cr_assert_eq(last_xcr0, 7);
	regs.rax = 2;
	r = priv("0f 01 d1", true);
	cr_assert(IS_EXC(r, VEC_GP));
	regs.rax = 7;
	regs.rcx = 1;
	r = priv("0f 01 d1", true);
	cr_assert(IS_EXC(r, VEC_GP));
}

Test(x86_emul, iopl)
{
	cr_assert(IS_NOT(priv("fa", true)));
	cr_assert(IS_NOT(priv("ec", true)));
	dom.vm_assist = 1u << VMASST_TYPE_architectural_iopl;
	cr_assert(IS_DONE(priv("fa", true)));
	dom.vm_assist = 0;
	vcpu.arch.iopl = 1;
	cr_assert(IS_DONE(priv("fa", true)));
	cr_assert(IS_DONE(priv("fb", true)));
	cr_assert(IS_NOT(priv("fb", false)));
	vcpu.arch.iopl = 3;
	cr_assert(IS_DONE(priv("fb", false)));
	cr_assert_eq(regs.rflags, 0x202);
}

Test(x86_emul, ports_read_as_ones)
{
	vcpu.arch.iopl = 1;
	regs.rax = 0x1122334455667788;
	cr_assert(IS_DONE(priv("ec", true)));
	cr_assert_eq(regs.rax, 0x11223344556677ff);
	cr_assert(IS_DONE(priv("66 ed", true)));
	cr_assert_eq(regs.rax, 0x112233445566ffff);
	cr_assert(IS_DONE(priv("e5 60", true)));
	cr_assert_eq(regs.rax, 0xffffffff);
	cr_assert(IS_DONE(priv("ef", true)));
	cr_assert_eq(regs.rax, 0xffffffff);
}

Test(x86_emul, string_ports)
{
	struct emul_result r;

	vcpu.arch.iopl = 1;
	regs.rdi = 16;
	regs.rcx = 3;
	cr_assert(IS_DONE(priv("f3 6d", true)));
	cr_assert_eq(regs.rdi, 28);
	cr_assert_eq(regs.rcx, 0);
	for (int i = 0; i < 64; i++)
		cr_assert_eq(guest_mem[i], i >= 16 && i < 28 ? 0xff : 0);
	regs.rsi = 100;
	regs.rflags |= X86_FLAGS_DF;
	cr_assert(IS_DONE(priv("66 6f", true)));
	cr_assert_eq(regs.rsi, 98);
	regs.rflags &= ~X86_FLAGS_DF;

	/* A long one stops after a page and goes on when it is run again. */
	uint64_t rip = regs.rip;
	regs.rdi = 0;
	regs.rcx = 1500;
	r = priv("f3 6c", true);
	cr_assert_eq(r.status, EMUL_RETRY);
	cr_assert_eq(regs.rip, rip);
	cr_assert_eq(regs.rcx, 1500 - 1024);
	cr_assert(IS_DONE(priv("f3 6c", true)));
	cr_assert_eq(regs.rdi, 1500);

	mem_limit = 2;
	regs.rdi = 0;
	r = priv("6d", true);
	cr_assert(IS_EXC(r, VEC_GP));
}

Test(x86_emul, forced_cpuid)
{
	regs.rax = 0x40000000;
	regs.rcx = 3;
	put_code("0f 0b 78 65 6e 0f a2");
	cr_assert(IS_DONE(emul_ud(&vcpu, &regs)));
	cr_assert_eq(regs.rax, 0x40000000);
	cr_assert_eq(regs.rbx, 3);
	cr_assert_eq(regs.rcx, 0xc);
	cr_assert_eq(regs.rdx, 0xd);
	cr_assert_eq(regs.rip, 0xffffffff81000007);
	put_code("0f 0b 78 65 6e f4");
	cr_assert(IS_NOT(emul_ud(&vcpu, &regs)));
	put_code("0f 32"); /* #UD for another reason is not ours */
	cr_assert(IS_NOT(emul_ud(&vcpu, &regs)));
}
