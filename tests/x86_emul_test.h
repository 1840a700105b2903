/* SPDX-License-Identifier: MIT */
/*
 * For tests of what the hypervisor emulates, which include it once: the x86 arch headers stand in
 * for the host's, the sources under test are compiled in, and the rest of the hypervisor is played.
 */
#ifndef TESTS_X86_EMUL_TEST_H
#define TESTS_X86_EMUL_TEST_H

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

#define IS_DONE(r) ((r).status == EMUL_DONE)
#define IS_NOT(r) ((r).status == EMUL_NOT)
#define IS_EXC(r, v) ((r).status == EMUL_FAULT && (r).vector == (v) && (r).error == 0)

#endif
