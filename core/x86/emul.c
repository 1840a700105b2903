/* SPDX-License-Identifier: MIT */
#include "core/x86/emul.h"

#include <arch/cpu.h>
#include <arch/x86.h>

#include "core/domain.h"
#include "core/hypercall.h"
#include "core/x86/cpuid.h"
#include "core/x86/fpu.h"
#include "core/x86/insn_fetch.h"
#include "core/x86/msr.h"

#define NOT_OURS ((struct emul_result){.status = EMUL_NOT})

static void do_cpuid(struct vcpu *v, struct cpu_user_regs *regs)
{
	struct cpuid_leaf l = cpuid_vcpu(v, (uint32_t)regs->rax, (uint32_t)regs->rcx);

	regs->rax = l.a;
	regs->rbx = l.b;
	regs->rcx = l.c;
	regs->rdx = l.d;
}

static void set_edx_eax(struct cpu_user_regs *regs, uint64_t val)
{
	regs->rax = (uint32_t)val;
	regs->rdx = val >> 32;
}

static uint64_t edx_eax(const struct cpu_user_regs *regs)
{
	return (uint32_t)regs->rax | regs->rdx << 32;
}

/* A guest kernel counts as ring 1, as the ABI has it, unless it asked to be taken for ring 0. */
static bool iopl_ok(const struct vcpu *v, bool kernel)
{
	bool ring0 = v->domain->vm_assist & 1u << VMASST_TYPE_architectural_iopl;

	return v->arch.iopl >= (!kernel ? 3u : ring0 ? 0u : 1u);
}

static struct emul_result execute(struct vcpu *v, struct cpu_user_regs *regs, bool kernel,
				  const struct insn *in)
{
	uint64_t val;

	/* What ring 3 may do here, or the ABI allows by IOPL. */
	switch (in->op) {
	case INSN_CPUID:
		do_cpuid(v, regs);
		return EMUL_OK;
	case INSN_CLI:
	case INSN_STI: /* as Xen: no effect, the upcall mask is what counts */
		return iopl_ok(v, kernel) ? EMUL_OK : NOT_OURS;
	case INSN_IN:
	case INSN_OUT:
	case INSN_INS:
	case INSN_OUTS:
		return iopl_ok(v, kernel) ? emul_io(regs, in) : NOT_OURS;
	default:
		break;
	}
	if (!kernel)
		return NOT_OURS;

	switch (in->op) {
	case INSN_RDMSR:
		if (!msr_read(v, (uint32_t)regs->rcx, &val))
			return EMUL_GP;
		set_edx_eax(regs, val);
		return EMUL_OK;
	case INSN_WRMSR:
		return msr_write(v, (uint32_t)regs->rcx, edx_eax(regs)) ? EMUL_OK : EMUL_GP;
	case INSN_MOV_FROM_CR:
	case INSN_MOV_TO_CR:
		return emul_cr(v, regs, in);
	case INSN_MOV_FROM_DR:
	case INSN_MOV_TO_DR:
		return emul_dr(v, regs, in);
	case INSN_CLTS:
		do_fpu_taskswitch(0);
		return EMUL_OK;
	case INSN_XSETBV:
		if (!(v->arch.ctrlreg[4] & X86_CR4_OSXSAVE))
			return EMUL_UD;
		if ((uint32_t)regs->rcx != 0 || !fpu_set_xcr0(v, edx_eax(regs)))
			return EMUL_GP;
		return EMUL_OK;
	case INSN_WBINVD: /* no devices, so nothing beyond the caches can tell */
		return EMUL_OK;
	case INSN_RDTSC:
		set_edx_eax(regs, arch_cycles());
		return EMUL_OK;
	default: /* HLT, INVLPG, LMSW, RDPMC, SWAPGS, LGDT, ...: the ABI has hypercalls, or nothing */
		return NOT_OURS;
	}
}

struct emul_result emul_privop(struct vcpu *v, struct cpu_user_regs *regs, bool kernel)
{
	const struct insn *in = insn_fetch(regs->rip);
	struct emul_result r;

	if (!in || in->op < INSN_MOV_FROM_CR)
		return NOT_OURS;
	r = execute(v, regs, kernel, in);
	if (r.status == EMUL_DONE) {
		regs->rip += in->len;
		regs->rflags &= ~X86_FLAGS_RF;
		if (unlikely(regs->rflags & X86_FLAGS_TF))
			return EMUL_EXC(VEC_DB, 0);
	}
	return r;
}

struct emul_result emul_ud(struct vcpu *v, struct cpu_user_regs *regs)
{
	const struct insn *in = insn_fetch(regs->rip);

	if (!in || in->op != INSN_FORCED_CPUID)
		return NOT_OURS;
	do_cpuid(v, regs);
	regs->rip += in->len;
	regs->rflags &= ~X86_FLAGS_RF;
	if (unlikely(regs->rflags & X86_FLAGS_TF))
		return EMUL_EXC(VEC_DB, 0);
	return EMUL_OK;
}
