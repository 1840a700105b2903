/* SPDX-License-Identifier: MIT */
/*
 * Ports of a guest without devices: reads give all ones, writes vanish. The caller has checked
 * IOPL. Strings are done a page at most at a time, so that no guest holds the pCPU.
 */
#include <arch/x86.h>

#include "core/arch.h"
#include "core/x86/decode.h"
#include "core/x86/emul.h"

static struct emul_result string_io(struct cpu_user_regs *regs, const struct insn *in)
{
	uint64_t amask = in->addr32 ? UINT32_MAX : UINT64_MAX;
	uint64_t count = in->rep ? regs->rcx & amask : 1;
	uint64_t step = regs->rflags & X86_FLAGS_DF ? -(uint64_t)in->size : in->size;
	uint64_t *ptr = in->op == INSN_INS ? &regs->rdi : &regs->rsi;
	static const uint32_t ones = UINT32_MAX;
	uint64_t todo = MIN(count, (uint64_t)PAGE_SIZE / 4);

	for (uint64_t i = 0; i < todo; i++) {
		if (in->op == INSN_INS && copy_to_guest(*ptr & amask, &ones, in->size))
			return EMUL_GP;
		*ptr = (*ptr + step) & amask;
		if (in->rep)
			regs->rcx = (regs->rcx - 1) & amask;
	}
	if (todo < count)
		return (struct emul_result){.status = EMUL_RETRY};
	return EMUL_OK;
}

struct emul_result emul_io(struct cpu_user_regs *regs, const struct insn *in)
{
	if (in->op == INSN_INS || in->op == INSN_OUTS)
		return string_io(regs, in);
	if (in->op == INSN_IN)
		insn_reg_store(regs, 0, in->size, false, UINT64_MAX);
	return EMUL_OK;
}
