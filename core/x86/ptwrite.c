/* SPDX-License-Identifier: MIT */
#include "core/x86/ptwrite.h"

#include <arch/x86.h>

#include "core/domain.h"
#include "core/x86/segbase.h"
#include "core/x86/uaccess.h"
#include "core/xen_errno.h"

/* Lost races with A and D bits or other vCPUs before the guest runs the instruction again. */
#define MAX_TRIES 16

/* A BTx with its bit number in a register reaches beyond its operand. */
static uint64_t bit_offset(const struct insn *in, uint64_t src)
{
	if (in->op < INSN_BTS || in->op > INSN_BTC || in->imm_src)
		return 0;
	unsigned shift = in->size == 8 ? 6 : in->size == 4 ? 5 : 4;
	int64_t n = in->size == 8 ? (int64_t)src
				  : in->size == 4 ? (int64_t)(int32_t)src : (int64_t)(int16_t)src;

	return (uint64_t)((n >> shift) * in->size);
}

static void advance_string(const struct insn *in, struct cpu_user_regs *regs)
{
	uint64_t step = regs->rflags & X86_FLAGS_DF ? -(uint64_t)in->size : in->size;

	regs->rdi = in->addr32 ? (uint32_t)(regs->rdi + step) : regs->rdi + step;
	if (!in->rep)
		return;
	regs->rcx = in->addr32 ? (uint32_t)(regs->rcx - 1) : regs->rcx - 1;
	if (in->addr32 ? (uint32_t)regs->rcx : regs->rcx)
		regs->rip -= in->len; /* not the last one: the instruction runs again */
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
	default:
		break;
	}
	regs->rflags = s->flags & ~X86_FLAGS_RF;
	regs->rip += in->len;
	if (in->op == INSN_STOS)
		advance_string(in, regs);
	if (unlikely(regs->rflags & X86_FLAGS_TF))
		return EMUL_EXC(VEC_DB, 0);
	return EMUL_OK;
}

struct emul_result ptwrite_emulate(struct vcpu *v, struct cpu_user_regs *regs, uint64_t cr2,
				   uint32_t error)
{
	uint8_t buf[16];
	struct insn in;
	struct ptstore s;
	uint64_t word, seen;

	if (!insn_decode(&in, buf, emul_fetch(buf, regs->rip)) || in.op > INSN_STOS)
		return (struct emul_result){ .status = EMUL_NOT };

	s.src = in.imm_src ? (uint64_t)in.imm
			   : in.op == INSN_STOS ? regs->rax : insn_reg_read(&in, regs);
	s.rax = regs->rax;
	uint64_t fs = in.seg == INSN_SEG_FS ? segbase_read_fs() : 0;
	uint64_t gs = in.seg == INSN_SEG_GS ? segbase_read_gs_kernel(v) : 0;
	uint64_t ea = insn_ea(&in, regs, fs, gs) + bit_offset(&in, s.src);
	unsigned shift = (ea & 7) * 8;

	/* Another instruction than the one that faulted, or one that spans entries. */
	if ((ea ^ cr2) >> PAGE_SHIFT || (ea & 7) + in.size > 8)
		return (struct emul_result){ .status = EMUL_NOT };
	if (guest_read64(&word, ea & ~7UL))
		return (struct emul_result){ .status = EMUL_RETRY };

	uint64_t mask = UINT64_MAX >> (64 - in.size * 8) << shift;
	mfn_t root = MFN(v->arch.root_cr3 >> PAGE_SHIFT);

	for (unsigned i = 0; i < MAX_TRIES; i++) {
		s.flags = regs->rflags;
		s.old = (word & mask) >> shift;
		ptstore_compute(&in, &s);
		if (!s.store)
			return finish(&in, regs, &s);

		uint64_t new_word = (word & ~mask) | s.new_ << shift;
		int rc = mm_pt_cmpxchg(&v->domain->mm, root, ea & ~7UL, word, new_word, &seen);

		if (likely(rc == 0)) {
			if (likely(seen == word))
				return finish(&in, regs, &s);
			word = seen;
			continue;
		}
		if (rc == MM_PREEMPTED || rc == -XEN_EFAULT) /* later, or no page table any more */
			return (struct emul_result){ .status = EMUL_RETRY };
		return (struct emul_result){
			.status = EMUL_FAULT, .vector = VEC_PF, .error = error, .cr2 = cr2
		};
	}
	return (struct emul_result){ .status = EMUL_RETRY };
}
