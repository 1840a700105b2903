/* SPDX-License-Identifier: MIT */
/*
 * Emulation of privileged instructions and of page-table stores, with the rest of the hypervisor
 * played by this file: the x86 arch headers stand in for the host's, and the sources under test
 * are compiled into it.
 */
#include "core/x86/include/arch/cpu.h"
#include "core/x86/include/arch/vcpu.h"

#include "core/x86/include/arch/uaccess.h"

int mock_copy_to_guest(uint64_t gva, const void *src, size_t len);

#define do_fpu_taskswitch mock_taskswitch
#define copy_to_guest mock_copy_to_guest
#define arch_hypercall_page mock_hypercall_page
#define mm_gfn_get_writable mock_get_writable
#define mm_pt_cmpxchg mock_pt_cmpxchg
#define mm_base_get mock_base_get
#define mm_base_put mock_base_put
#define arch_new_baseptr mock_new_baseptr

#include "core/domain.h"
#include "core/xen_errno.h"
#include "core/x86/cpuid.h"
#include "core/x86/insn_fetch.h"
#include "core/x86/emul.c"
#include "core/x86/emul_cr.c"
#include "core/x86/emul_io.c"
#include "core/x86/msr.c"
#include "core/x86/ptwrite.c"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct domain dom;
static struct vcpu vcpu;
static vcpu_info_t info;
static struct cpu_user_regs regs;
static uint8_t code[16];
static struct insn decoded;

/* ---- the rest of the hypervisor ------------------------------------------------------------ */

const struct insn *insn_fetch(uint64_t rip)
{
	cr_assert_eq(rip, regs.rip);
	return insn_decode(&decoded, code, INSN_MAX) ? &decoded : NULL;
}

struct cpuid_leaf cpuid_vcpu(const struct vcpu *v, uint32_t leaf, uint32_t sub)
{
	cr_assert_eq(v, &vcpu);
	return (struct cpuid_leaf){leaf, sub, 0xc, 0xd};
}

static int last_ts = -1;
long mock_taskswitch(uint64_t set)
{
	last_ts = (int)set;
	return 0;
}

static uint64_t last_xcr0;
bool fpu_set_xcr0(struct vcpu *v, uint64_t xcr0)
{
	(void)v;
	last_xcr0 = xcr0;
	return xcr0 == 7;
}

static uint64_t fs_base, gs_kernel, gs_user;
uint64_t segbase_read_fs(void)
{
	return fs_base;
}
uint64_t segbase_read_gs_kernel(struct vcpu *v)
{
	(void)v;
	return gs_kernel;
}
uint64_t segbase_read_gs_user(struct vcpu *v)
{
	(void)v;
	return gs_user;
}
static bool canonical(uint64_t a)
{
	return (int64_t)(a << 16) >> 16 == (int64_t)a;
}
bool segbase_write_fs(uint64_t base)
{
	fs_base = base;
	return canonical(base);
}
bool segbase_write_gs_kernel(struct vcpu *v, uint64_t base)
{
	(void)v;
	gs_kernel = base;
	return canonical(base);
}
bool segbase_write_gs_user(struct vcpu *v, uint64_t base)
{
	(void)v;
	gs_user = base;
	return canonical(base);
}

static unsigned last_dr;
long pvcpu_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value)
{
	(void)v;
	last_dr = reg;
	return value == 0xbad ? -XEN_EPERM : 0;
}

static uint8_t guest_mem[8192];
static uint64_t mem_limit;
int mock_copy_to_guest(uint64_t gva, const void *src, size_t len)
{
	if (gva + len > mem_limit)
		return -XEN_EFAULT;
	memcpy(guest_mem + gva, src, len);
	return 0;
}

static uint64_t asked_gfn;
mfn_t mock_get_writable(struct mm *mm, gfn_t gfn)
{
	cr_assert_eq(mm, &dom.mm);
	asked_gfn = gfn.v;
	return gfn.v == 5 ? MFN(77) : INVALID_MFN;
}
static const void *filled;
void mock_hypercall_page(void *page)
{
	filled = page;
}

/* A page table of 512 entries, and what happens to an update. */
static uint64_t table[512] ALIGNED(4096);
static unsigned races;
static uint64_t race_bits;
static int refuse;
static unsigned updates;
int mock_pt_cmpxchg(struct mm *mm, mfn_t root, uint64_t va, uint64_t old, uint64_t new_,
		    uint64_t *seen)
{
	uint64_t *e = (uint64_t *)va;

	cr_assert_eq(mm, &dom.mm);
	cr_assert_eq(root.v, 0x1234);
	cr_assert_eq(va & 7, 0);
	cr_assert(e >= table && e < table + 512);
	updates++;
	if (races) { /* another CPU sets A or D just before */
		races--;
		*e ^= race_bits;
	}
	if (refuse)
		return refuse;
	*seen = *e;
	if (*e == old)
		*e = new_;
	return 0;
}

/* Name 0x50 is a good L4, 0x51 one whose building takes two attempts. */
static uint64_t put_gfn;
int mock_base_get(struct mm *mm, gfn_t gfn, mfn_t *root)
{
	static unsigned attempts;

	cr_assert_eq(mm, &dom.mm);
	*root = MFN(0x900);
	if (gfn.v == 0x51)
		return attempts++ ? 0 : MM_PREEMPTED;
	return gfn.v == 0x50 ? 0 : -XEN_EINVAL;
}
void mock_base_put(struct mm *mm, gfn_t gfn)
{
	cr_assert_eq(mm, &dom.mm);
	put_gfn = gfn.v;
}
gfn_t mock_new_baseptr(gfn_t gfn, mfn_t root)
{
	gfn_t old = vcpu.arch.kernel_l4;

	cr_assert_eq(root.v, 0x900);
	vcpu.arch.kernel_l4 = gfn;
	return old;
}

/* ---- helpers --------------------------------------------------------------------------------- */

static void setup(void)
{
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&regs, 0, sizeof(regs));
	vcpu.domain = &dom;
	atomic_store(&vcpu.info, &info);
	vcpu.arch.ctrlreg[0] = 0x80050033;
	vcpu.arch.ctrlreg[4] = 0x620;
	vcpu.arch.kernel_l4 = GFN(0x42);
	vcpu.arch.root_cr3 = 0x1234000;
	vcpu.arch.iopl = 0;
	regs.rip = 0xffffffff81000000;
	regs.rflags = 0x202;
	mem_limit = sizeof(guest_mem);
}

TestSuite(x86_emul, .init = setup);
TestSuite(x86_ptwrite, .init = setup);

static void put_code(const char *hex)
{
	unsigned n = 0, v;
	int used;

	memset(code, 0x90, sizeof(code));
	while (sscanf(hex, "%x%n", &v, &used) == 1) {
		code[n++] = (uint8_t)v;
		hex += used;
	}
}

static struct emul_result priv(const char *hex, bool kernel)
{
	put_code(hex);
	return emul_privop(&vcpu, &regs, kernel);
}

#define IS_DONE(r) ((r).status == EMUL_DONE)
#define IS_NOT(r) ((r).status == EMUL_NOT)
#define IS_EXC(r, v) ((r).status == EMUL_FAULT && (r).vector == (v) && (r).error == 0)

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

/* ---- privileged instructions ----------------------------------------------------------------- */

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

/* ---- page-table stores ------------------------------------------------------------------------ */

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
