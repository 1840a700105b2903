/* SPDX-License-Identifier: MIT */
/* What the store instructions compute: value and flags, as the SDM's volume 2 has them. */
#include <arch/x86.h>

#include "core/x86/ptwrite.h"

#define FLAG_CF 0x001u
#define FLAG_PF 0x004u
#define FLAG_AF 0x010u
#define FLAG_ZF 0x040u
#define FLAG_SF 0x080u
#define FLAG_OF 0x800u
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

/* Sign, zero and parity of a result of @bits. */
static uint64_t flags_szp(uint64_t r, unsigned bits)
{
	uint64_t f = 0;

	if (r == 0)
		f |= FLAG_ZF;
	if (r >> (bits - 1) & 1)
		f |= FLAG_SF;
	if (!(0x6996u >> ((r ^ r >> 4) & 15) & 1)) /* even number of ones in the low byte */
		f |= FLAG_PF;
	return f;
}

static uint64_t flags_add(uint64_t a, uint64_t b, uint64_t r, unsigned bits)
{
	uint64_t f = flags_szp(r, bits) | ((a ^ b ^ r) & FLAG_AF);

	if (r < a)
		f |= FLAG_CF;
	if ((~(a ^ b) & (a ^ r)) >> (bits - 1) & 1)
		f |= FLAG_OF;
	return f;
}

static uint64_t flags_sub(uint64_t a, uint64_t b, uint64_t r, unsigned bits)
{
	uint64_t f = flags_szp(r, bits) | ((a ^ b ^ r) & FLAG_AF);

	if (a < b)
		f |= FLAG_CF;
	if (((a ^ b) & (a ^ r)) >> (bits - 1) & 1)
		f |= FLAG_OF;
	return f;
}

void ptstore_compute(const struct insn *in, struct ptstore *s)
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
		f = flags_szp(r, bits);
		break;
	case INSN_ADD:
	case INSN_XADD:
		r = (a + b) & mask;
		f = flags_add(a, b, r, bits);
		break;
	case INSN_SUB:
		r = (a - b) & mask;
		f = flags_sub(a, b, r, bits);
		break;
	case INSN_CMPXCHG: { /* flags of CMP rAX, destination */
		uint64_t c = s->rax & mask;

		r = b;
		f = flags_sub(c, a, (c - a) & mask, bits);
		s->store = c == a;
		break;
	}
	default: { /* BTS, BTR, BTC: CF only; ZF is kept, the others undefined: kept too */
		uint64_t bit = 1ULL << (s->src & (bits - 1));

		r = in->op == INSN_BTS ? a | bit : in->op == INSN_BTR ? a & ~bit : a ^ bit;
		s->new_ = r;
		s->flags = (s->flags & ~(uint64_t)FLAG_CF) | (a & bit ? FLAG_CF : 0);
		return;
	}
	}
	s->new_ = r;
	s->flags = (s->flags & ~(uint64_t)FLAGS_ARITH) | f;
}
