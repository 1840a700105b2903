/* SPDX-License-Identifier: MIT */
/* What the store instructions compute: value and flags, as the SDM's volume 2 has them. */
#ifndef CORE_X86_PTSTORE_H
#define CORE_X86_PTSTORE_H

#include "core/x86/decode.h"

/* One computed store. */
struct ptstore {
	uint64_t old;	/* in: current value of the operand, @in->size bytes */
	uint64_t src;	/* in: source operand */
	uint64_t rax;	/* in: for cmpxchg */
	uint64_t new_;	/* out: value to store */
	bool store;	/* out: false when nothing is stored (failed cmpxchg) */
	uint64_t flags; /* in and out: rflags */
};

#define PTSTORE_CF 0x001u
#define PTSTORE_PF 0x004u
#define PTSTORE_AF 0x010u
#define PTSTORE_ZF 0x040u
#define PTSTORE_SF 0x080u
#define PTSTORE_OF 0x800u
#define PTSTORE_ARITH (PTSTORE_CF | PTSTORE_PF | PTSTORE_AF | PTSTORE_ZF | PTSTORE_SF | PTSTORE_OF)

/* Sign, zero and parity of a result of @bits. */
static inline uint64_t ptstore_flags_szp(uint64_t r, unsigned bits)
{
	uint64_t f = 0;

	if (r == 0)
		f |= PTSTORE_ZF;
	if (r >> (bits - 1) & 1)
		f |= PTSTORE_SF;
	if (!(0x6996u >> ((r ^ r >> 4) & 15) & 1)) /* even number of ones in the low byte */
		f |= PTSTORE_PF;
	return f;
}

static inline uint64_t ptstore_flags_add(uint64_t a, uint64_t b, uint64_t r, unsigned bits)
{
	uint64_t f = ptstore_flags_szp(r, bits) | ((a ^ b ^ r) & PTSTORE_AF);

	if (r < a)
		f |= PTSTORE_CF;
	if ((~(a ^ b) & (a ^ r)) >> (bits - 1) & 1)
		f |= PTSTORE_OF;
	return f;
}

static inline uint64_t ptstore_flags_sub(uint64_t a, uint64_t b, uint64_t r, unsigned bits)
{
	uint64_t f = ptstore_flags_szp(r, bits) | ((a ^ b ^ r) & PTSTORE_AF);

	if (a < b)
		f |= PTSTORE_CF;
	if (((a ^ b) & (a ^ r)) >> (bits - 1) & 1)
		f |= PTSTORE_OF;
	return f;
}

/** ptstore_compute() - what @in does to memory and flags; registers are the caller's. Pure. */
static inline void ptstore_compute(const struct insn *in, struct ptstore *s)
{
	unsigned bits = in->size * 8u;
	uint64_t mask = UINT64_MAX >> (64 - bits);
	uint64_t a = s->old & mask, b = s->src & mask, r, f;

	s->store = true;
	switch (in->op) {
	case INSN_MOV:
	case INSN_XCHG:
	case INSN_STOS:
		s->new_ = b;
		return;
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
		r = in->op == INSN_AND ? a & b : in->op == INSN_OR ? a | b : a ^ b;
		f = ptstore_flags_szp(r, bits);
		break;
	case INSN_ADD:
	case INSN_XADD:
		r = (a + b) & mask;
		f = ptstore_flags_add(a, b, r, bits);
		break;
	case INSN_SUB:
		r = (a - b) & mask;
		f = ptstore_flags_sub(a, b, r, bits);
		break;
	case INSN_CMPXCHG: { /* flags of CMP rAX, destination */
		uint64_t c = s->rax & mask;

		r = b;
		f = ptstore_flags_sub(c, a, (c - a) & mask, bits);
		s->store = c == a;
		break;
	}
	default: { /* BTS, BTR, BTC: CF only; ZF is kept, the others undefined: kept too */
		uint64_t bit = 1ULL << (s->src & (bits - 1));

		r = in->op == INSN_BTS ? a | bit : in->op == INSN_BTR ? a & ~bit : a ^ bit;
		s->new_ = r;
		s->flags = (s->flags & ~(uint64_t)PTSTORE_CF) | (a & bit ? PTSTORE_CF : 0);
		return;
	}
	}
	s->new_ = r;
	s->flags = (s->flags & ~(uint64_t)PTSTORE_ARITH) | f;
}

#endif
