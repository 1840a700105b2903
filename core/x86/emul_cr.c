/* SPDX-License-Identifier: MIT */
/* Control and debug registers as a PV guest kernel sees them. */
#include <arch/x86.h>

#include "core/domain.h"
#include "core/hypercall.h"
#include "core/x86/decode.h"
#include "core/x86/emul.h"
#include "core/x86/pvcpu.h"

/* CR4 bits a guest may set or clear: they change nothing in the hardware but its own view. */
#define CR4_GUEST                                                                                  \
	(X86_CR4_DE | X86_CR4_MCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE |       \
	 X86_CR4_OSXSAVE)

static bool read_cr(struct vcpu *v, unsigned n, uint64_t *val)
{
	switch (n) {
	case 0:
	case 4:
		*val = v->arch.ctrlreg[n];
		return true;
	case 2:
		*val = atomic_load_explicit(&v->info, memory_order_relaxed)->arch.cr2;
		return true;
	case 3: /* names, not frames */
		*val = v->arch.kernel_l4.v << PAGE_SHIFT;
		return true;
	default:
		return false;
	}
}

static bool write_cr(struct vcpu *v, unsigned n, uint64_t val)
{
	switch (n) {
	case 0: /* TS only */
		if ((val ^ v->arch.ctrlreg[0]) & ~X86_CR0_TS)
			return false;
		do_fpu_taskswitch(!!(val & X86_CR0_TS));
		return true;
	case 2:
		atomic_load_explicit(&v->info, memory_order_relaxed)->arch.cr2 = val;
		return true;
	case 4: /* as Xen: bits that are not for the guest are dropped without a fault */
		v->arch.ctrlreg[4] = (v->arch.ctrlreg[4] & ~CR4_GUEST) | (val & CR4_GUEST);
		return true;
	default: /* CR3 is a hypercall; there is no CR8 */
		return false;
	}
}

struct emul_result emul_cr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *in)
{
	uint64_t *reg = insn_reg(regs, in->reg);
	bool ok = in->op == INSN_MOV_FROM_CR ? read_cr(v, in->rm, reg) : write_cr(v, in->rm, *reg);

	return ok ? EMUL_OK : EMUL_GP;
}

struct emul_result emul_dr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *in)
{
	uint64_t *reg = insn_reg(regs, in->reg);
	unsigned n = in->rm;

	if (n == 4 || n == 5) { /* DR6 and DR7 by another name, unless CR4.DE says no */
		if (v->arch.ctrlreg[4] & X86_CR4_DE)
			return EMUL_UD;
		n += 2;
	}
	if (in->op == INSN_MOV_FROM_DR) {
		*reg = v->arch.dr[n];
		return EMUL_OK;
	}
	return pvcpu_set_debugreg(v, n, *reg) ? EMUL_GP : EMUL_OK;
}
