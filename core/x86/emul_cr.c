/* SPDX-License-Identifier: MIT */
/* Control and debug registers as a PV guest kernel sees them. */
#include <arch/x86.h>

#include "core/arch.h"
#include "core/domain.h"
#include "core/hypercall.h"
#include "core/x86/decode.h"
#include "core/x86/emul.h"
#include "core/x86/pvcpu.h"

/* CR4 bits a guest may set or clear: they change nothing in the hardware but its own view. */
#define CR4_GUEST                                                                            \
	(X86_CR4_DE | X86_CR4_MCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE | \
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

/* MOV to CR3, as MMUEXT_NEW_BASEPTR: 0, MM_PREEMPTED, or an errno. */
static int new_cr3(struct vcpu *v, gfn_t l4)
{
	mfn_t root;
	int rc = mm_base_get(&v->domain->mm, l4, &root);

	if (rc)
		return rc;
	gfn_t old = arch_new_baseptr(l4, root);

	if (gfn_valid_value(old))
		mm_base_put(&v->domain->mm, old);
	return 0;
}

static int write_cr(struct vcpu *v, unsigned n, uint64_t val)
{
	switch (n) {
	case 0: /* TS only */
		if ((val ^ v->arch.ctrlreg[0]) & ~X86_CR0_TS)
			return -XEN_EINVAL;
		do_fpu_taskswitch(!!(val & X86_CR0_TS));
		return 0;
	case 2:
		atomic_load_explicit(&v->info, memory_order_relaxed)->arch.cr2 = val;
		return 0;
	case 3:
		return new_cr3(v, GFN(val >> PAGE_SHIFT));
	case 4: /* as Xen: bits that are not for the guest are dropped without a fault */
		v->arch.ctrlreg[4] = (v->arch.ctrlreg[4] & ~CR4_GUEST) | (val & CR4_GUEST);
		return 0;
	default: /* there is no CR8 */
		return -XEN_EINVAL;
	}
}

struct emul_result emul_cr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *in)
{
	uint64_t *reg = insn_reg(regs, in->reg);
	int rc;

	if (in->op == INSN_MOV_FROM_CR)
		return read_cr(v, in->rm, reg) ? EMUL_OK : EMUL_GP;
	rc = write_cr(v, in->rm, *reg);
	if (rc == MM_PREEMPTED)
		return (struct emul_result){.status = EMUL_RETRY};
	return rc ? EMUL_GP : EMUL_OK;
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
