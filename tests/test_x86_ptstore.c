/* SPDX-License-Identifier: MIT */
/* Emulated stores against the CPU: the same operands through the real instruction. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "core/x86/ptstore.h"
#include "tests/seed.h"

static uint64_t rng;

static uint64_t rnd(void)
{
	return seed_next(&rng);
}

struct run {
	uint64_t mem, src, rax, flags;
};

/* rsp is moved first: the compiler may keep something in the red zone. */
#define RUN(r, insn, mod)                                                           \
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"                               \
			 "push %[f]\n\tpopfq\n\t" insn " %" mod "[s], (%[p])\n\t"   \
			 "pushfq\n\tpop %[f]\n\t"                                   \
			 "lea 128(%%rsp), %%rsp"                                    \
			 : [f] "+r"((r)->flags), [s] "+q"((r)->src), "+a"((r)->rax) \
			 : [p] "r"(&(r)->mem)                                       \
			 : "memory", "cc")

#define SIZES_BT(r, insn)                      \
	do {                                   \
		switch (size) {                \
		case 2:                        \
			RUN(r, insn "w", "w"); \
			break;                 \
		case 4:                        \
			RUN(r, insn "l", "k"); \
			break;                 \
		default:                       \
			RUN(r, insn "q", "q"); \
		}                              \
	} while (0)

#define SIZES(r, insn)                         \
	do {                                   \
		if (size == 1)                 \
			RUN(r, insn "b", "b"); \
		else                           \
			SIZES_BT(r, insn);     \
	} while (0)

static void execute(struct run *r, uint8_t op, unsigned size)
{
	switch (op) {
	case INSN_MOV:
		SIZES(r, "mov");
		break;
	case INSN_XCHG:
		SIZES(r, "xchg");
		break;
	case INSN_CMPXCHG:
		SIZES(r, "lock cmpxchg");
		break;
	case INSN_XADD:
		SIZES(r, "lock xadd");
		break;
	case INSN_AND:
		SIZES(r, "lock and");
		break;
	case INSN_OR:
		SIZES(r, "lock or");
		break;
	case INSN_XOR:
		SIZES(r, "xor");
		break;
	case INSN_ADD:
		SIZES(r, "add");
		break;
	case INSN_SUB:
		SIZES(r, "sub");
		break;
	case INSN_BTS:
		SIZES_BT(r, "lock bts");
		break;
	case INSN_BTR:
		SIZES_BT(r, "lock btr");
		break;
	default:
		SIZES_BT(r, "btc");
	}
}

#define CF 1u
#define ZF 0x40u
#define ARITH 0x8d5u /* CF PF AF ZF SF OF */
#define AF 0x10u

/* Flags that the SDM defines after @op. */
static uint64_t defined(uint8_t op)
{
	switch (op) {
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
		return ARITH & ~AF;
	case INSN_BTS:
	case INSN_BTR:
	case INSN_BTC:
		return CF | ZF;
	default:
		return ARITH;
	}
}

/* Small and extreme values too, or carries and overflows would be rare. */
static uint64_t value(void)
{
	static const uint64_t edge[] = {0,	    1,	    0x7f,	0x80,
					0xff,	    0x7fff, 0x8000,	0x7fffffff,
					0x80000000, ~0ULL,  1ULL << 63, ~(1ULL << 63)};

	return rnd() % 3 ? rnd() : edge[rnd() % ARRAY_SIZE(edge)];
}

Test(x86_ptstore, against_the_cpu)
{
	static const uint8_t ops[] = {INSN_MOV, INSN_XCHG, INSN_CMPXCHG, INSN_XADD,
				      INSN_AND, INSN_OR,   INSN_XOR,	 INSN_ADD,
				      INSN_SUB, INSN_BTS,  INSN_BTR,	 INSN_BTC};
	unsigned failed_cmpxchg = 0;

	rng = seed_from_env();

	for (unsigned i = 0; i < 500000; i++) {
		uint8_t op = ops[rnd() % ARRAY_SIZE(ops)];
		bool bt = op >= INSN_BTS && op <= INSN_BTC;
		unsigned size = 1u << (bt ? 1 + rnd() % 3 : rnd() % 4);
		uint64_t mask = UINT64_MAX >> (64 - size * 8);
		struct run r = {value(), value(), value(), 0x202 | (rnd() & ARITH)};

		if (rnd() & 1)
			r.rax = r.mem;
		if (bt) /* stay inside the operand; farther bits are ptwrite.c's */
			r.src &= size * 8 - 1;
		struct insn in = {.op = op, .size = (uint8_t)size};
		struct ptstore t = {
			.old = r.mem & mask, .src = r.src & mask, .rax = r.rax, .flags = r.flags};
		struct run want = r;

		execute(&want, op, size);
		ptstore_compute(&in, &t);

		uint64_t mem = t.store ? (r.mem & ~mask) | t.new_ : r.mem;

		cr_assert_eq(t.new_ & ~mask, 0);
		cr_assert_eq(mem, want.mem, "op %u size %u old %lx src %lx rax %lx: %lx, not %lx",
			     op, size, r.mem, r.src, r.rax, mem, want.mem);
		cr_assert_eq((t.flags ^ want.flags) & (defined(op) | ~(uint64_t)ARITH), 0,
			     "op %u size %u old %lx src %lx rax %lx: flags %lx, not %lx", op, size,
			     r.mem, r.src, r.rax, t.flags, want.flags);
		if (op == INSN_CMPXCHG && !t.store)
			failed_cmpxchg++;
	}
	cr_assert_gt(failed_cmpxchg, 1000);
}
