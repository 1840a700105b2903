/* SPDX-License-Identifier: MIT */
/* Operands of a decoded instruction in a register frame. */
#include "core/x86/decode.h"

#define OFF(r) offsetof(struct cpu_user_regs, r)

static const uint8_t reg_offset[16] = {
	OFF(rax), OFF(rcx), OFF(rdx), OFF(rbx), OFF(rsp), OFF(rbp), OFF(rsi), OFF(rdi),
	OFF(r8),  OFF(r9),  OFF(r10), OFF(r11), OFF(r12), OFF(r13), OFF(r14), OFF(r15),
};

uint64_t *insn_reg(struct cpu_user_regs *regs, unsigned n)
{
	return (uint64_t *)((char *)regs + reg_offset[n & 15]);
}

static uint64_t reg_get(const struct cpu_user_regs *regs, unsigned n)
{
	return *(const uint64_t *)((const char *)regs + reg_offset[n]);
}

uint64_t insn_ea(const struct insn *in, const struct cpu_user_regs *regs, uint64_t fs_base,
		 uint64_t gs_base)
{
	uint64_t ea = (uint64_t)(int64_t)in->disp;

	if (in->base != INSN_NO_REG)
		ea += reg_get(regs, in->base);
	if (in->index != INSN_NO_REG)
		ea += reg_get(regs, in->index) << in->scale;
	if (in->rip_rel)
		ea += regs->rip + in->len;
	if (in->addr32)
		ea = (uint32_t)ea;
	if (in->seg == INSN_SEG_FS)
		ea += fs_base;
	else if (in->seg == INSN_SEG_GS)
		ea += gs_base;
	return ea;
}

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
