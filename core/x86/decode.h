/* SPDX-License-Identifier: MIT */
/*
 * A decoder for the instructions that a PV guest may have emulated, and no others: privileged
 * instructions, and stores to a read-only page-table page. 64-bit mode. Zydis would do it, but it
 * is compiled code with vector registers, which the hypervisor must not touch while they hold a
 * guest's state; and this is the subset that matters. The tests hold it against Zydis.
 *
 * Pure C on a byte buffer, no allocation, no state. Intel SDM vol. 2, chapters 2 and appendix A.
 */
#ifndef CORE_X86_DECODE_H
#define CORE_X86_DECODE_H

#include "core/types.h"

#include <xen/xen.h>

#define INSN_MAX 15

enum insn_op {
	INSN_NONE,
	/* stores: memory operand, source a register or an immediate */
	INSN_MOV,
	INSN_XCHG,
	INSN_CMPXCHG,
	INSN_XADD,
	INSN_AND,
	INSN_OR,
	INSN_XOR,
	INSN_ADD,
	INSN_SUB,
	INSN_BTS,
	INSN_BTR,
	INSN_BTC,
	INSN_STOS,
	/* privileged */
	INSN_MOV_FROM_CR, /* reg = general register, rm = control register */
	INSN_MOV_TO_CR,
	INSN_MOV_FROM_DR,
	INSN_MOV_TO_DR,
	INSN_CLTS,
	INSN_LMSW, /* memory operand, or rm a register */
	INSN_INVLPG,
	INSN_RDMSR,
	INSN_WRMSR,
	INSN_RDTSC,
	INSN_RDTSCP,
	INSN_RDPMC,
	INSN_CPUID,
	INSN_FORCED_CPUID, /* ud2a "xen" cpuid */
	INSN_XGETBV,
	INSN_XSETBV,
	INSN_WBINVD,
	INSN_INVD,
	INSN_HLT,
	INSN_CLI,
	INSN_STI,
	INSN_IN, /* imm valid unless port_dx */
	INSN_OUT,
	INSN_INS,
	INSN_OUTS,
	/* privileged and never emulated: decoded so that a test can tell them from garbage */
	INSN_DESC_TABLE, /* lgdt, lidt, lldt, ltr */
	INSN_SWAPGS,
	INSN_SYSRET,
	INSN_INT, /* imm is the vector, 0 to 255 */
	INSN_NR
};

enum insn_seg { INSN_SEG_NONE, INSN_SEG_FS, INSN_SEG_GS };

#define INSN_NO_REG 0xff

struct insn {
	uint8_t op;   /* enum insn_op */
	uint8_t len;  /* bytes, prefixes included */
	uint8_t size; /* operand size in bytes: 1, 2, 4, 8 */
	uint8_t reg;  /* register operand, 0-15; source of a store, unless imm_src */
	uint8_t rm;   /* register operand in ModRM.rm, when not mem */
	bool mem;     /* ModRM.rm is memory (or the string's destination) */
	bool imm_src; /* source is imm */
	bool high8;   /* 8-bit reg 4-7 means AH, CH, DH, BH */
	bool lock, rep;
	bool port_dx; /* IN, OUT: port in DX */
	bool addr32;  /* address-size prefix */
	bool rip_rel;
	uint8_t seg;	     /* enum insn_seg */
	uint8_t base, index; /* registers or INSN_NO_REG */
	uint8_t scale;	     /* shift of the index, 0-3 */
	int32_t disp;
	int64_t imm; /* sign-extended to 64 bits */
};

/**
 * insn_decode() - decode one instruction at @buf, of which @len bytes are readable.
 * Returns true and fills @in when it is complete and one of the above; false otherwise (then
 * @in->op is INSN_NONE). Never reads past @len nor INSN_MAX; INSN_FORCED_CPUID needs 7 bytes.
 */
bool insn_decode(struct insn *in, const uint8_t *buf, size_t len);

/* Offsets of rax ... r15 in struct cpu_user_regs. */
extern const uint8_t insn_reg_offset[16];

/** insn_reg() - the 64-bit general register @n (0 = rax ... 15 = r15) in @regs. @n < 16. */
static inline uint64_t *insn_reg(struct cpu_user_regs *regs, unsigned n)
{
	return (uint64_t *)((char *)regs + insn_reg_offset[n]);
}

/**
 * insn_ea() - effective address of the memory operand, without the base of segment @in->seg. A BTx
 * with a register bit offset reaches further: see ptwrite.c.
 */
static inline uint64_t insn_ea(const struct insn *in, struct cpu_user_regs *regs)
{
	uint64_t ea = (uint64_t)(int64_t)in->disp;

	if (likely(in->base != INSN_NO_REG))
		ea += *insn_reg(regs, in->base);
	if (in->index != INSN_NO_REG)
		ea += *insn_reg(regs, in->index) << in->scale;
	if (in->rip_rel)
		ea += regs->rip + in->len;
	return unlikely(in->addr32) ? (uint32_t)ea : ea;
}

/** insn_reg_read() - value of register operand @in->reg, @in->size bytes, zero-extended. */
uint64_t insn_reg_read(const struct insn *in, struct cpu_user_regs *regs);

/**
 * insn_reg_store() - write register @n as an instruction of operand size @size does: 4 bytes clear
 * the upper half, 1 and 2 bytes keep the rest; @high8: AH, CH, DH, BH for 4 to 7.
 */
void insn_reg_store(struct cpu_user_regs *regs, unsigned n, unsigned size, bool high8,
		    uint64_t val);

#endif
