/* SPDX-License-Identifier: MIT */
#include "core/x86/ptwrite.h"

#include <arch/x86.h>

#include "core/domain.h"
#include "core/x86/extable.h"
#include "core/x86/insn_fetch.h"
#include "core/x86/ptstore.h"
#include "core/x86/segbase.h"
#include "core/xen_errno.h"
#include "memsvc/hc_common.h"

/* Lost races with A and D bits or other vCPUs before the guest runs the instruction again. */
#define MAX_TRIES 16

/* A BTx with its bit number in a register reaches beyond its operand. */
static uint64_t bit_offset(const struct insn *in, uint64_t src)
{
	if (in->op < INSN_BTS || in->op > INSN_BTC || in->imm_src)
		return 0;
	unsigned shift = in->size == 8 ? 6 : in->size == 4 ? 5 : 4;
	int64_t n = in->size == 8   ? (int64_t)src
		    : in->size == 4 ? (int64_t)(int32_t)src
				    : (int64_t)(int16_t)src;

	return (uint64_t)((n >> shift) * in->size);
}

/* One step of STOS. False when it has to run again for the next one. */
static bool advance_string(const struct insn *in, struct cpu_user_regs *regs)
{
	uint64_t mask = in->addr32 ? UINT32_MAX : UINT64_MAX;

	regs->rdi += regs->rflags & X86_FLAGS_DF ? -(uint64_t)in->size : in->size;
	regs->rdi &= mask;
	if (!in->rep)
		return true;
	regs->rcx = (regs->rcx - 1) & mask;
	return !regs->rcx;
}

/* cr2 has been found in guest memory, so the word around the operand is there too;
 * it is read through the guest's own mapping. */
static inline bool read_word(uint64_t va, uint64_t *val)
{
	uint64_t v, bad;

	__asm__ volatile("xor %k[bad], %k[bad]\n"
			 "1:\tmov (%[p]), %[v]\n"
			 "\tjmp 3f\n"
			 "2:\tmov $1, %k[bad]\n"
			 "3:\n\t" EX_ENTRY(1b, 2b)
			 : [v] "=&r"(v), [bad] "=&r"(bad)
			 : [p] "r"(va)
			 : "memory", "cc");
	*val = v;
	return !bad;
}

/* Past the instruction: RF ends with it, and a single-stepping guest gets its #DB. */
static inline struct emul_result retire(const struct insn *in, struct cpu_user_regs *regs)
{
	regs->rip += in->len;
	regs->rflags &= ~X86_FLAGS_RF;
	if (unlikely(regs->rflags & X86_FLAGS_TF))
		return EMUL_EXC(VEC_DB, 0);
	return EMUL_OK;
}

static inline int apply(struct vcpu *v, uint64_t ea, uint64_t old, uint64_t val, uint64_t *seen)
{
	return mm_pt_cmpxchg(&v->domain->mm, arch_root(&v->arch), ea, old, val, seen);
}

/* The store is done: registers, flags and rip follow. */
static struct emul_result finish(const struct insn *in, struct cpu_user_regs *regs,
				 const struct ptstore *s)
{
	switch (in->op) {
	case INSN_XCHG:
	case INSN_XADD:
		insn_reg_store(regs, in->reg, in->size, in->high8, s->old);
		break;
	case INSN_CMPXCHG:
		if (!s->store)
			insn_reg_store(regs, 0, in->size, false, s->old);
		break;
	case INSN_STOS:
		if (!advance_string(in, regs)) {
			regs->rflags &= ~X86_FLAGS_RF;
			return EMUL_OK;
		}
		break;
	default:
		break;
	}
	regs->rflags = s->flags;
	return retire(in, regs);
}

static __attribute__((noinline)) struct emul_result any_store(struct vcpu *v,
							      struct cpu_user_regs *regs,
							      const struct insn *in, uint64_t cr2,
							      uint32_t error)
{
	struct ptstore s = {.rax = regs->rax};
	uint64_t word, seen, ea = insn_ea(in, regs);

	s.src = in->imm_src	      ? (uint64_t)in->imm
		: in->op == INSN_STOS ? regs->rax
				      : insn_reg_read(in, regs);
	ea += bit_offset(in, s.src);
	if (unlikely(in->seg != INSN_SEG_NONE))
		ea += in->seg == INSN_SEG_FS ? segbase_read_fs() : segbase_read_gs_kernel(v);
	unsigned shift = (ea & 7) * 8;

	/* Another instruction than the one that faulted, or one that spans entries. */
	if (unlikely((ea ^ cr2) >> PAGE_SHIFT || (ea & 7) + in->size > 8))
		return (struct emul_result){.status = EMUL_NOT};
	ea &= ~7UL;
	if (unlikely(!read_word(ea, &word)))
		return (struct emul_result){.status = EMUL_RETRY};

	uint64_t mask = UINT64_MAX >> (64 - in->size * 8) << shift;

	for (unsigned i = 0; i < MAX_TRIES; i++) {
		s.flags = regs->rflags;
		s.old = (word & mask) >> shift;
		ptstore_compute(in, &s);
		if (!s.store)
			return finish(in, regs, &s);

		int rc = apply(v, ea, word, (word & ~mask) | s.new_ << shift, &seen);

		if (likely(rc == 0)) {
			if (likely(seen == word))
				return finish(in, regs, &s);
			word = seen;
			continue;
		}
		/* No memory for it now: the vCPU sleeps a moment. */
		rc = (int)hc_wait_for_memory(rc);
		if (rc == MM_PREEMPTED || rc == -XEN_EFAULT) /* later, or no page table any more */
			break;
		return (struct emul_result){
			.status = EMUL_FAULT, .vector = VEC_PF, .error = error, .cr2 = cr2};
	}
	return (struct emul_result){.status = EMUL_RETRY};
}

struct emul_result ptwrite_emulate(struct vcpu *v, struct cpu_user_regs *regs, uint64_t cr2,
				   uint32_t error)
{
	const struct insn *in = insn_fetch(regs->rip);
	uint64_t word, seen;

	if (unlikely(!in || in->op > INSN_STOS))
		return (struct emul_result){.status = EMUL_NOT};

	/* MOV and XCHG of a whole entry, at the address that faulted; all else, and what fails. */
	if (likely(in->op <= INSN_XCHG && in->size == 8 && !(cr2 & 7) && !in->seg &&
		   insn_ea(in, regs) == cr2 && read_word(cr2, &word))) {
		uint64_t *reg = insn_reg(regs, in->reg & 15);
		uint64_t val = in->imm_src ? (uint64_t)in->imm : *reg;

		if (likely(apply(v, cr2, word, val, &seen) == 0 && seen == word)) {
			if (in->op == INSN_XCHG)
				*reg = word;
			return retire(in, regs);
		}
	}
	return any_store(v, regs, in, cr2, error);
}
