/* SPDX-License-Identifier: MIT */
#include "core/x86/decode.h"

/* What follows an opcode, and which prefixes it bears. */
enum {
	K_MODRM = 0x01, /* ModRM, memory only */
	K_BYTE = 0x02,	/* 8-bit operands */
	K_IMM8 = 0x04,	/* 8-bit immediate */
	K_IMMZ = 0x08,	/* immediate of the operand's size, at most 32 bits */
	K_LOCK = 0x10,	/* LOCK is allowed */
	K_REP = 0x20,	/* F2 and F3 are allowed */
	K_PLAIN = 0x40, /* no 66, F2, F3 */
	K_GROUP = 0x80, /* ModRM.reg chooses the operation */
};

struct form {
	uint8_t op;
	uint8_t kind;
};

#define RMW (K_MODRM | K_LOCK | K_REP)
#define ARITH(base, o) [base] = {o, RMW | K_BYTE}, [(base) + 1] = {o, RMW}

static const struct form one_byte[256] = {
	ARITH(0x00, INSN_ADD),
	ARITH(0x08, INSN_OR),
	ARITH(0x20, INSN_AND),
	ARITH(0x28, INSN_SUB),
	ARITH(0x30, INSN_XOR),
	[0x80] = {INSN_ADD, RMW | K_GROUP | K_BYTE | K_IMM8},
	[0x81] = {INSN_ADD, RMW | K_GROUP | K_IMMZ},
	[0x83] = {INSN_ADD, RMW | K_GROUP | K_IMM8},
	[0x86] = {INSN_XCHG, RMW | K_BYTE},
	[0x87] = {INSN_XCHG, RMW},
	[0x88] = {INSN_MOV, K_MODRM | K_REP | K_BYTE},
	[0x89] = {INSN_MOV, K_MODRM | K_REP},
	[0xc6] = {INSN_MOV, K_MODRM | K_REP | K_GROUP | K_BYTE | K_IMM8},
	[0xc7] = {INSN_MOV, K_MODRM | K_REP | K_GROUP | K_IMMZ},
	[0xaa] = {INSN_STOS, K_REP | K_BYTE},
	[0xab] = {INSN_STOS, K_REP},
	[0x6c] = {INSN_INS, K_REP | K_BYTE},
	[0x6d] = {INSN_INS, K_REP},
	[0x6e] = {INSN_OUTS, K_REP | K_BYTE},
	[0x6f] = {INSN_OUTS, K_REP},
	[0xe4] = {INSN_IN, K_BYTE | K_IMM8},
	[0xe5] = {INSN_IN, K_IMM8},
	[0xe6] = {INSN_OUT, K_BYTE | K_IMM8},
	[0xe7] = {INSN_OUT, K_IMM8},
	[0xec] = {INSN_IN, K_BYTE},
	[0xed] = {INSN_IN, 0},
	[0xee] = {INSN_OUT, K_BYTE},
	[0xef] = {INSN_OUT, 0},
	[0xcd] = {INSN_INT, K_REP | K_IMM8},
	[0xf4] = {INSN_HLT, 0},
	[0xfa] = {INSN_CLI, 0},
	[0xfb] = {INSN_STI, 0},
};

static const struct form two_byte[256] = {
	[0x06] = {INSN_CLTS, K_PLAIN},
	[0x07] = {INSN_SYSRET, K_PLAIN},
	[0x08] = {INSN_INVD, K_PLAIN},
	[0x09] = {INSN_WBINVD, K_PLAIN},
	[0x30] = {INSN_WRMSR, K_PLAIN},
	[0x31] = {INSN_RDTSC, K_PLAIN},
	[0x32] = {INSN_RDMSR, K_PLAIN},
	[0x33] = {INSN_RDPMC, K_PLAIN},
	[0xa2] = {INSN_CPUID, K_PLAIN},
	[0xab] = {INSN_BTS, RMW},
	[0xb3] = {INSN_BTR, RMW},
	[0xbb] = {INSN_BTC, RMW},
	[0xba] = {INSN_BTS, RMW | K_GROUP | K_IMM8},
	[0xb0] = {INSN_CMPXCHG, RMW | K_BYTE},
	[0xb1] = {INSN_CMPXCHG, RMW},
	[0xc0] = {INSN_XADD, RMW | K_BYTE},
	[0xc1] = {INSN_XADD, RMW},
	[0xc3] = {INSN_MOV, K_MODRM | K_PLAIN}, /* MOVNTI */
};

/* Operations of group 1 (80, 81, 83) and group 8 (0F BA) by ModRM.reg. */
static const uint8_t group1[8] = {INSN_ADD, INSN_OR, 0, 0, INSN_AND, INSN_SUB, INSN_XOR, 0};
static const uint8_t group8[8] = {0, 0, 0, 0, 0, INSN_BTS, INSN_BTR, INSN_BTC};

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

struct cursor {
	const uint8_t *p, *end;
	uint8_t rex;
	bool rex_seen;
	bool opsize;
	uint8_t rep; /* F2 or F3 */
};

static bool is_prefix(uint8_t b)
{
	switch (b) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64 ... 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
		return true;
	default:
		return (b & 0xf0) == 0x40;
	}
}

/* A REX that is not the last prefix is ignored by the CPU. Two of F2/F3, or two segment
 * overrides, are legal but mean different things to different CPUs: not ours. */
static bool prefixes(struct cursor *c, struct insn *in)
{
	unsigned segs = 0;

	while (c->p < c->end && is_prefix(*c->p)) {
		uint8_t b = *c->p++;

		if ((b & 0xf0) == 0x40) {
			c->rex = b & 15;
			c->rex_seen = true;
			continue;
		}
		c->rex = 0;
		c->rex_seen = false;
		switch (b) {
		case 0x66:
			c->opsize = true;
			break;
		case 0x67:
			in->addr32 = true;
			break;
		case 0xf0:
			in->lock = true;
			break;
		case 0xf2:
		case 0xf3:
			if (c->rep && c->rep != b)
				return false;
			c->rep = b;
			break;
		default:
			segs++;
			if (b == 0x64)
				in->seg = INSN_SEG_FS;
			else if (b == 0x65)
				in->seg = INSN_SEG_GS;
		}
	}
	in->rep = c->rep;
	return segs <= 1;
}

static bool take(struct cursor *c, unsigned n, int64_t *val)
{
	if ((size_t)(c->end - c->p) < n)
		return false;
	switch (n) {
	case 1:
		*val = (int64_t)((uint64_t)c->p[0] << 56) >> 56;
		break;
	case 2:
		*val = (int16_t)(c->p[0] | c->p[1] << 8);
		break;
	default:
		*val = (int32_t)(c->p[0] | c->p[1] << 8 | c->p[2] << 16 | (uint32_t)c->p[3] << 24);
	}
	c->p += n;
	return true;
}

/* ModRM, SIB and displacement. */
static bool modrm(struct cursor *c, struct insn *in)
{
	if (c->p == c->end)
		return false;
	uint8_t m = *c->p++, mod = m >> 6, rm = m & 7;
	int64_t disp = 0;
	unsigned disp_len = mod == 1 ? 1 : mod == 2 ? 4 : 0;

	in->reg = (uint8_t)((m >> 3 & 7) | (c->rex & REX_R) << 1);
	in->rm = (uint8_t)(rm | (c->rex & REX_B) << 3);
	in->index = INSN_NO_REG;
	if (mod == 3)
		return true;
	in->mem = true;
	in->base = in->rm;
	if (rm == 4) {
		if (c->p == c->end)
			return false;
		uint8_t sib = *c->p++;
		uint8_t index = (uint8_t)((sib >> 3 & 7) | (c->rex & REX_X) << 2);

		in->scale = sib >> 6;
		if (index != 4) /* RSP means none */
			in->index = index;
		in->base = (uint8_t)((sib & 7) | (c->rex & REX_B) << 3);
		if ((sib & 7) == 5 && mod == 0) {
			in->base = INSN_NO_REG;
			disp_len = 4;
		}
	} else if (rm == 5 && mod == 0) {
		in->base = INSN_NO_REG;
		in->rip_rel = true;
		disp_len = 4;
	}
	if (disp_len && !take(c, disp_len, &disp))
		return false;
	in->disp = (int32_t)disp;
	return true;
}

/* 0F 20 to 0F 23: the register forms whatever ModRM.mod says. */
static bool mov_crdr(struct cursor *c, struct insn *in, uint8_t opcode)
{
	static const uint8_t ops[4] = {INSN_MOV_FROM_CR, INSN_MOV_FROM_DR, INSN_MOV_TO_CR,
				       INSN_MOV_TO_DR};

	if (c->p == c->end || in->lock || c->rep || c->opsize)
		return false;
	uint8_t m = *c->p++;
	uint8_t special = (uint8_t)((m >> 3 & 7) | (c->rex & REX_R) << 1);

	if (opcode & 1 ? special > 7 : special > 8 || (special != 8 && !(0x1d >> special & 1)))
		return false; /* there are CR0, 2, 3, 4, 8 and DR0 to 7 */
	in->op = ops[opcode & 3];
	in->reg = (uint8_t)((m & 7) | (c->rex & REX_B) << 3);
	in->rm = special;
	in->size = 8;
	return true;
}

/* 0F 00 and 0F 01. */
static bool system_groups(struct cursor *c, struct insn *in, uint8_t opcode)
{
	if (in->lock || !modrm(c, in))
		return false;
	unsigned op = in->reg & 7;

	in->size = 2;
	if (opcode == 0x00) { /* LLDT, LTR */
		in->op = INSN_DESC_TABLE;
		return (op == 2 || op == 3) && !c->rep;
	}
	if (in->mem) {
		if (c->rep)
			return false;
		in->op = op == 2 || op == 3 ? INSN_DESC_TABLE : op == 6 ? INSN_LMSW : INSN_INVLPG;
		return op == 2 || op == 3 || op == 6 || op == 7;
	}
	switch (op << 3 | (in->rm & 7)) {
	case 020:
		in->op = INSN_XGETBV;
		return !c->rep && !c->opsize;
	case 021:
		in->op = INSN_XSETBV;
		return !c->rep && !c->opsize;
	case 070:
		in->op = INSN_SWAPGS;
		return !c->rep && !c->opsize;
	case 071:
		in->op = INSN_RDTSCP;
		return !c->rep && !c->opsize;
	default:
		in->op = INSN_LMSW;
		return op == 6 && !c->rep;
	}
}

static bool operands(struct cursor *c, struct insn *in, uint8_t opcode, const struct form *f)
{
	int64_t imm;

	in->op = f->op;
	if ((in->lock && !(f->kind & K_LOCK)) || (c->rep && !(f->kind & K_REP)) ||
	    (c->opsize && (f->kind & K_PLAIN)))
		return false;
	in->size = f->kind & K_BYTE ? 1 : c->rex & REX_W ? 8 : c->opsize ? 2 : 4;

	if (f->kind & K_MODRM) {
		if (!modrm(c, in) || !in->mem)
			return false;
		if (f->kind & K_GROUP) {
			unsigned n = in->reg & 7;

			if (f->op == INSN_MOV)
				in->op = n ? INSN_NONE : INSN_MOV;
			else
				in->op = f->op == INSN_ADD ? group1[n] : group8[n];
			if (in->op == INSN_NONE)
				return false;
		}
		in->high8 = in->size == 1 && !c->rex_seen && in->reg >= 4;
	}
	if (f->kind & (K_IMM8 | K_IMMZ)) {
		if (!take(c, f->kind & K_IMM8 ? 1 : MIN(in->size, 4u), &imm))
			return false;
		in->imm = imm;
		in->imm_src = true;
		in->high8 = false;
	}

	switch (in->op) {
	case INSN_STOS:
	case INSN_INS:
	case INSN_OUTS:
		in->mem = true;
		in->base = in->op == INSN_OUTS ? 6 : 7; /* rsi, rdi */
		in->index = INSN_NO_REG;
		if (in->op != INSN_OUTS)
			in->seg = INSN_SEG_NONE; /* ES:rDI can't be overridden */
		break;
	case INSN_INT:
		in->imm &= 0xff;
		break;
	case INSN_IN:
	case INSN_OUT:
		in->imm &= 0xff;
		in->port_dx = opcode & 8;
		break;
	default:
		break;
	}
	if (in->op >= INSN_IN && in->op <= INSN_OUTS && in->size == 8)
		in->size = 4;
	return true;
}

static bool decode(struct cursor *c, struct insn *in)
{
	if (!prefixes(c, in) || c->p == c->end)
		return false;
	uint8_t opcode = *c->p++;

	if (opcode != 0x0f)
		return one_byte[opcode].op && operands(c, in, opcode, &one_byte[opcode]);
	if (c->p == c->end)
		return false;
	opcode = *c->p++;
	if (opcode <= 0x01)
		return system_groups(c, in, opcode);
	if (opcode >= 0x20 && opcode <= 0x23)
		return mov_crdr(c, in, opcode);
	return two_byte[opcode].op && operands(c, in, opcode, &two_byte[opcode]);
}

static bool forced_cpuid(const uint8_t *b, size_t len)
{
	return len >= 7 && b[0] == 0x0f && b[1] == 0x0b && b[2] == 'x' && b[3] == 'e' &&
	       b[4] == 'n' && b[5] == 0x0f && b[6] == 0xa2;
}

bool insn_decode(struct insn *in, const uint8_t *buf, size_t len)
{
	struct cursor c = {.p = buf, .end = buf + MIN(len, (size_t)INSN_MAX)};

	*in = (struct insn){.index = INSN_NO_REG, .base = INSN_NO_REG};
	if (unlikely(forced_cpuid(buf, len))) {
		in->op = INSN_FORCED_CPUID;
		in->len = 7;
		return true;
	}
	if (!decode(&c, in)) {
		in->op = INSN_NONE;
		return false;
	}
	in->len = (uint8_t)(c.p - buf);
	return true;
}
