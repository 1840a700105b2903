/* SPDX-License-Identifier: MIT */
/* Operands of a decoded instruction in a register frame. */
#include "core/x86/decode.h"

#define OFF(r) offsetof(struct cpu_user_regs, r)

const uint8_t insn_reg_offset[16] = {
	OFF(rax), OFF(rcx), OFF(rdx), OFF(rbx), OFF(rsp), OFF(rbp), OFF(rsi), OFF(rdi),
	OFF(r8),  OFF(r9),  OFF(r10), OFF(r11), OFF(r12), OFF(r13), OFF(r14), OFF(r15),
};

uint64_t insn_reg_read(const struct insn *in, struct cpu_user_regs *regs)
{
	if (in->high8)
		return *insn_reg(regs, in->reg - 4u) >> 8 & 0xff;

	uint64_t v = *insn_reg(regs, in->reg);

	return in->size == 8 ? v : v & ((1ULL << in->size * 8) - 1);
}

void insn_reg_store(struct cpu_user_regs *regs, unsigned n, unsigned size, bool high8, uint64_t val)
{
	uint64_t *r = insn_reg(regs, high8 ? n - 4 : n);

	switch (size) {
	case 1:
		if (high8)
			*r = (*r & ~0xff00ULL) | (val & 0xff) << 8;
		else
			*r = (*r & ~0xffULL) | (val & 0xff);
		break;
	case 2:
		*r = (*r & ~0xffffULL) | (val & 0xffff);
		break;
	case 4:
		*r = (uint32_t)val;
		break;
	default:
		*r = val;
	}
}
