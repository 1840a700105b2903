/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Zydis: whatever it accepts, Zydis must decode to the same length, operation
 * and operands; and every form it is there for must be accepted.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <Zydis/Zydis.h>

#include "core/x86/decode.h"
#include "tests/seed.h"

static uint64_t rng;

static uint64_t rnd(void)
{
	return seed_next(&rng);
}

static const struct {
	uint8_t op;
	ZydisMnemonic mnemonic;
} names[] = {
	{INSN_MOV, ZYDIS_MNEMONIC_MOV},		{INSN_MOV, ZYDIS_MNEMONIC_MOVNTI},
	{INSN_XCHG, ZYDIS_MNEMONIC_XCHG},	{INSN_CMPXCHG, ZYDIS_MNEMONIC_CMPXCHG},
	{INSN_XADD, ZYDIS_MNEMONIC_XADD},	{INSN_AND, ZYDIS_MNEMONIC_AND},
	{INSN_OR, ZYDIS_MNEMONIC_OR},		{INSN_XOR, ZYDIS_MNEMONIC_XOR},
	{INSN_ADD, ZYDIS_MNEMONIC_ADD},		{INSN_SUB, ZYDIS_MNEMONIC_SUB},
	{INSN_BTS, ZYDIS_MNEMONIC_BTS},		{INSN_BTR, ZYDIS_MNEMONIC_BTR},
	{INSN_BTC, ZYDIS_MNEMONIC_BTC},		{INSN_STOS, ZYDIS_MNEMONIC_STOSB},
	{INSN_STOS, ZYDIS_MNEMONIC_STOSW},	{INSN_STOS, ZYDIS_MNEMONIC_STOSD},
	{INSN_STOS, ZYDIS_MNEMONIC_STOSQ},	{INSN_MOV_FROM_CR, ZYDIS_MNEMONIC_MOV},
	{INSN_MOV_TO_CR, ZYDIS_MNEMONIC_MOV},	{INSN_MOV_FROM_DR, ZYDIS_MNEMONIC_MOV},
	{INSN_MOV_TO_DR, ZYDIS_MNEMONIC_MOV},	{INSN_CLTS, ZYDIS_MNEMONIC_CLTS},
	{INSN_LMSW, ZYDIS_MNEMONIC_LMSW},	{INSN_INVLPG, ZYDIS_MNEMONIC_INVLPG},
	{INSN_RDMSR, ZYDIS_MNEMONIC_RDMSR},	{INSN_WRMSR, ZYDIS_MNEMONIC_WRMSR},
	{INSN_RDTSC, ZYDIS_MNEMONIC_RDTSC},	{INSN_RDTSCP, ZYDIS_MNEMONIC_RDTSCP},
	{INSN_RDPMC, ZYDIS_MNEMONIC_RDPMC},	{INSN_CPUID, ZYDIS_MNEMONIC_CPUID},
	{INSN_XGETBV, ZYDIS_MNEMONIC_XGETBV},	{INSN_XSETBV, ZYDIS_MNEMONIC_XSETBV},
	{INSN_WBINVD, ZYDIS_MNEMONIC_WBINVD},	{INSN_INVD, ZYDIS_MNEMONIC_INVD},
	{INSN_HLT, ZYDIS_MNEMONIC_HLT},		{INSN_CLI, ZYDIS_MNEMONIC_CLI},
	{INSN_STI, ZYDIS_MNEMONIC_STI},		{INSN_IN, ZYDIS_MNEMONIC_IN},
	{INSN_OUT, ZYDIS_MNEMONIC_OUT},		{INSN_INS, ZYDIS_MNEMONIC_INSB},
	{INSN_INS, ZYDIS_MNEMONIC_INSW},	{INSN_INS, ZYDIS_MNEMONIC_INSD},
	{INSN_OUTS, ZYDIS_MNEMONIC_OUTSB},	{INSN_OUTS, ZYDIS_MNEMONIC_OUTSW},
	{INSN_OUTS, ZYDIS_MNEMONIC_OUTSD},	{INSN_DESC_TABLE, ZYDIS_MNEMONIC_LGDT},
	{INSN_DESC_TABLE, ZYDIS_MNEMONIC_LIDT}, {INSN_DESC_TABLE, ZYDIS_MNEMONIC_LLDT},
	{INSN_DESC_TABLE, ZYDIS_MNEMONIC_LTR},	{INSN_SWAPGS, ZYDIS_MNEMONIC_SWAPGS},
	{INSN_SYSRET, ZYDIS_MNEMONIC_SYSRET},	{INSN_INT, ZYDIS_MNEMONIC_INT},
};

static bool mnemonic_ok(uint8_t op, ZydisMnemonic m)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].op == op && names[i].mnemonic == m)
			return true;
	}
	return false;
}

static ZydisDecoder zydis;

static void fail(const uint8_t *b, const struct insn *in, const char *why)
{
	char hex[64] = "";

	for (int i = 0; i < 15; i++)
		sprintf(hex + i * 3, "%02x ", b[i]);
	cr_assert_fail("%s: op %u len %u size %u: %s", hex, in->op, in->len, in->size, why);
}

/* Our number of a Zydis general register; the stores' and the special moves' operands only. */
static int reg_number(ZydisRegister r)
{
	uint8_t id = (uint8_t)ZydisRegisterGetId(r);

	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
			return 4 + r - ZYDIS_REGISTER_AH + 100;
		if (r >= ZYDIS_REGISTER_SPL)
			return r - ZYDIS_REGISTER_SPL + 4;
		return r - ZYDIS_REGISTER_AL;
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
	case ZYDIS_REGCLASS_CONTROL:
	case ZYDIS_REGCLASS_DEBUG:
		return id;
	default:
		return -1;
	}
}

/*
 * With an address-size prefix, SIB base 5, mod 0 and REX.B, Zydis 4.0 shows base R13D and no
 * displacement, though it counts the displacement's 4 bytes. The CPU has no base there (SDM vol. 2,
 * table 2-5), as Zydis itself says without the prefix.
 */
static bool zydis_r13d(const struct insn *in, const ZydisDecodedOperand *o)
{
	return in->addr32 && in->base == INSN_NO_REG && !in->rip_rel &&
	       o->mem.base == ZYDIS_REGISTER_R13D && !o->mem.disp.has_displacement;
}

static void check_memory(const uint8_t *b, const struct insn *in, const ZydisDecodedOperand *o)
{
	bool rip = o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP;
	int base =
		o->mem.base == ZYDIS_REGISTER_NONE || rip ? INSN_NO_REG : reg_number(o->mem.base);
	int index = o->mem.index == ZYDIS_REGISTER_NONE ? INSN_NO_REG : reg_number(o->mem.index);
	int seg = o->mem.segment == ZYDIS_REGISTER_FS	? INSN_SEG_FS
		  : o->mem.segment == ZYDIS_REGISTER_GS ? INSN_SEG_GS
							: INSN_SEG_NONE;

	if (rip != in->rip_rel)
		fail(b, in, "rip-relative");
	if (zydis_r13d(in, o))
		return;
	if (base != in->base)
		fail(b, in, "base");
	if (index != in->index)
		fail(b, in, "index");
	if (index != INSN_NO_REG && o->mem.scale != 1 << in->scale)
		fail(b, in, "scale");
	if ((o->mem.disp.has_displacement ? o->mem.disp.value : 0) != in->disp)
		fail(b, in, "displacement");
	if (seg != in->seg)
		fail(b, in, "segment");
}

static void check_store(const uint8_t *b, const struct insn *in, const ZydisDecodedInstruction *z,
			const ZydisDecodedOperand *o)
{
	const ZydisDecodedOperand *m = &o[0], *src = &o[1];

	if (m->type != ZYDIS_OPERAND_TYPE_MEMORY) { /* XCHG is listed either way round */
		m = &o[1];
		src = &o[0];
	}
	if (m->type != ZYDIS_OPERAND_TYPE_MEMORY)
		fail(b, in, "no memory operand");
	check_memory(b, in, m);
	if (m->size != in->size * 8)
		fail(b, in, "operand size");
	if (in->op == INSN_STOS) {
		if (!!(z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
					ZYDIS_ATTRIB_HAS_REPNE)) != in->rep)
			fail(b, in, "rep");
		return;
	}
	if (src->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		uint64_t mask = UINT64_MAX >> (64 - in->size * 8);
		bool bit = in->op >= INSN_BTS && in->op <= INSN_BTC;

		if (!in->imm_src)
			fail(b, in, "immediate source not seen");
		if (bit)
			mask = 0xff;
		if ((src->imm.value.u & mask) != ((uint64_t)in->imm & mask))
			fail(b, in, "immediate");
	} else {
		int n = reg_number(src->reg.value);

		if (in->imm_src)
			fail(b, in, "immediate source without one");
		if (n != in->reg + (in->high8 ? 100 : 0))
			fail(b, in, "source register");
	}
	if (!!(z->attributes & ZYDIS_ATTRIB_HAS_LOCK) != in->lock)
		fail(b, in, "lock");
}

static void check_special(const uint8_t *b, const struct insn *in, const ZydisDecodedOperand *o)
{
	bool from = in->op == INSN_MOV_FROM_CR || in->op == INSN_MOV_FROM_DR;
	const ZydisDecodedOperand *gpr = &o[from ? 0 : 1], *special = &o[from ? 1 : 0];
	bool cr = in->op == INSN_MOV_FROM_CR || in->op == INSN_MOV_TO_CR;

	if (ZydisRegisterGetClass(special->reg.value) !=
	    (cr ? ZYDIS_REGCLASS_CONTROL : ZYDIS_REGCLASS_DEBUG))
		fail(b, in, "register class");
	if (reg_number(gpr->reg.value) != in->reg)
		fail(b, in, "general register");
	if ((uint8_t)ZydisRegisterGetId(special->reg.value) != in->rm)
		fail(b, in, "special register");
}

static void check_port(const uint8_t *b, const struct insn *in, const ZydisDecodedOperand *o)
{
	const ZydisDecodedOperand *port = &o[in->op == INSN_IN ? 1 : 0];
	const ZydisDecodedOperand *data = &o[in->op == INSN_IN ? 0 : 1];

	if (data->size != in->size * 8)
		fail(b, in, "port size");
	if ((port->type == ZYDIS_OPERAND_TYPE_REGISTER) != in->port_dx)
		fail(b, in, "port operand");
	if (!in->port_dx && port->imm.value.u != (uint64_t)in->imm)
		fail(b, in, "port number");
}

/* Returns what our decoder said. */
static bool compare(const uint8_t *b, size_t len)
{
	struct insn in;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];

	if (!insn_decode(&in, b, len)) {
		cr_assert_eq(in.op, INSN_NONE);
		return false;
	}
	if (in.op == INSN_FORCED_CPUID)
		return true;
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&zydis, b, len, &z, o)))
		fail(b, &in, "Zydis rejects it");
	if (z.length != in.len)
		fail(b, &in, "length");
	if (!mnemonic_ok(in.op, z.mnemonic))
		fail(b, &in, ZydisMnemonicGetString(z.mnemonic));
	if (in.op <= INSN_STOS)
		check_store(b, &in, &z, o);
	else if (in.op >= INSN_MOV_FROM_CR && in.op <= INSN_MOV_TO_DR)
		check_special(b, &in, o);
	else if (in.op == INSN_IN || in.op == INSN_OUT)
		check_port(b, &in, o);
	else if (in.op == INSN_INT && o[0].imm.value.u != (uint64_t)in.imm)
		fail(b, &in, "vector");
	else if (in.op == INSN_INS && o[0].size != in.size * 8)
		fail(b, &in, "ins size");
	return true;
}

static void init(void)
{
	ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	rng = seed_from_env();
}

TestSuite(x86_decode, .init = init);

Test(x86_decode, random_bytes)
{
	unsigned accepted = 0;

	for (unsigned i = 0; i < 3000000; i++) {
		uint64_t w[2] = {rnd(), rnd()};

		accepted += compare((const uint8_t *)w, 15);
	}
	cr_assert_gt(accepted, 10000);
}

/* Random bytes behind likely beginnings: many more get far into the decoder. */
Test(x86_decode, likely_bytes)
{
	static const uint8_t prefix[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x64, 0x65, 0x2e,
					 0x36, 0x3e, 0x26, 0x40, 0x41, 0x44, 0x48, 0x4f};
	static const uint8_t one[] = {0xcd, 0x00, 0x01, 0x08, 0x09, 0x20, 0x21, 0x28, 0x29, 0x30,
				      0x31, 0x80, 0x81, 0x83, 0x86, 0x87, 0x88, 0x89, 0xc6, 0xc7,
				      0xaa, 0xab, 0x6c, 0x6d, 0x6e, 0x6f, 0xe4, 0xe5, 0xe6, 0xe7,
				      0xec, 0xed, 0xee, 0xef, 0xf4, 0xfa, 0xfb, 0x82, 0x10, 0x38};
	static const uint8_t two[] = {0x00, 0x01, 0x06, 0x07, 0x08, 0x09, 0x20, 0x21, 0x22,
				      0x23, 0x30, 0x31, 0x32, 0x33, 0xa2, 0xab, 0xb3, 0xbb,
				      0xba, 0xb0, 0xb1, 0xc0, 0xc1, 0xc3, 0x0b, 0xc7, 0xa3};
	unsigned accepted = 0;

	for (unsigned i = 0; i < 3000000; i++) {
		uint8_t b[32];
		unsigned n = 0;

		for (unsigned j = rnd() % 5; j; j--)
			b[n++] = prefix[rnd() % sizeof(prefix)];
		if (rnd() & 1) {
			b[n++] = 0x0f;
			b[n++] = two[rnd() % sizeof(two)];
		} else {
			b[n++] = one[rnd() % sizeof(one)];
		}
		for (; n < sizeof(b); n++)
			b[n] = (uint8_t)(rnd() >> 16);
		accepted += compare(b, 15);
	}
	cr_assert_gt(accepted, 500000);
}

/* One byte less than an accepted instruction is none; nothing is read behind the end (ASan). */
Test(x86_decode, truncated)
{
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t w[2] = {rnd(), rnd()};
		struct insn in, cut;

		if (!insn_decode(&in, (const uint8_t *)w, 15))
			continue;
		for (unsigned n = 0; n < in.len; n++) {
			uint8_t *tight = malloc(n ? n : 1);

			memcpy(tight, w, n);
			cr_assert_not(insn_decode(&cut, tight, n));
			free(tight);
		}
		uint8_t *tight = malloc(in.len);

		memcpy(tight, w, in.len);
		cr_assert(insn_decode(&cut, tight, in.len));
		cr_assert_eq(cut.len, in.len);
		cr_assert_eq(cut.op, in.op);
		cr_assert_eq(cut.disp, in.disp);
		cr_assert_eq(cut.imm, in.imm);
		free(tight);
	}
}

struct must {
	const char *hex;
	uint8_t op, size;
	bool lock;
};

static unsigned unhex(const char *s, uint8_t *b)
{
	unsigned n = 0, v;
	int used;

	while (sscanf(s, "%x%n", &v, &used) == 1) {
		b[n++] = (uint8_t)v;
		s += used;
	}
	return n;
}

/* The forms Linux and others use, from a disassembler's listing. */
static const struct must forms[] = {
	{"48 87 07", INSN_XCHG, 8, false},    /* xchg %rax,(%rdi) */
	{"4d 87 3c 24", INSN_XCHG, 8, false}, /* xchg %r15,(%r12) */
	{"87 03", INSN_XCHG, 4, false},
	{"66 87 03", INSN_XCHG, 2, false},
	{"86 63 08", INSN_XCHG, 1, false},	   /* xchg %ah,8(%rbx) */
	{"f0 48 0f b1 17", INSN_CMPXCHG, 8, true}, /* lock cmpxchg %rdx,(%rdi) */
	{"f0 0f b1 17", INSN_CMPXCHG, 4, true},
	{"0f b0 17", INSN_CMPXCHG, 1, false},
	{"f0 48 0f c1 07", INSN_XADD, 8, true},
	{"f0 0f c0 07", INSN_XADD, 1, true},
	{"f0 48 0f ba 37 01", INSN_BTR, 8, true}, /* lock btrq $1,(%rdi) */
	{"f0 48 0f ba 2f 3f", INSN_BTS, 8, true},
	{"f0 0f ba 7f 04 05", INSN_BTC, 4, true},
	{"f0 48 0f b3 07", INSN_BTR, 8, true}, /* lock btr %rax,(%rdi) */
	{"f0 48 0f ab 07", INSN_BTS, 8, true},
	{"f0 48 0f bb 07", INSN_BTC, 8, true},
	{"f0 80 23 fd", INSN_AND, 1, true}, /* lock andb $0xfd,(%rbx) */
	{"f0 80 0b 02", INSN_OR, 1, true},
	{"f0 80 73 01 02", INSN_XOR, 1, true},
	{"f0 48 21 07", INSN_AND, 8, true},
	{"f0 48 83 27 fd", INSN_AND, 8, true},
	{"f0 48 81 27 fd ff ff ff", INSN_AND, 8, true},
	{"f0 48 09 07", INSN_OR, 8, true},
	{"f0 48 83 0f 40", INSN_OR, 8, true},
	{"f0 48 31 07", INSN_XOR, 8, true},
	{"48 01 07", INSN_ADD, 8, false},
	{"48 29 07", INSN_SUB, 8, false},
	{"66 81 27 ff 0f", INSN_AND, 2, false},
	{"48 89 07", INSN_MOV, 8, false},
	{"48 89 3d 10 00 00 00", INSN_MOV, 8, false}, /* mov %rdi,16(%rip) */
	{"48 89 84 c8 00 10 00 00", INSN_MOV, 8, false},
	{"65 48 89 04 25 28 00 00 00", INSN_MOV, 8, false}, /* %gs:0x28 */
	{"64 89 04 25 10 00 00 00", INSN_MOV, 4, false},
	{"67 48 89 07", INSN_MOV, 8, false},
	{"88 07", INSN_MOV, 1, false},
	{"40 88 37", INSN_MOV, 1, false},	      /* mov %sil,(%rdi) */
	{"48 c7 07 00 00 00 00", INSN_MOV, 8, false}, /* movq $0,(%rdi) */
	{"c7 07 78 56 34 12", INSN_MOV, 4, false},
	{"66 c7 07 34 12", INSN_MOV, 2, false},
	{"c6 07 12", INSN_MOV, 1, false},
	{"48 0f c3 07", INSN_MOV, 8, false}, /* movnti */
	{"0f c3 07", INSN_MOV, 4, false},
	{"48 ab", INSN_STOS, 8, false},
	{"f3 48 ab", INSN_STOS, 8, false},
	{"aa", INSN_STOS, 1, false},
	{"0f 20 c0", INSN_MOV_FROM_CR, 8, false},
	{"41 0f 20 df", INSN_MOV_FROM_CR, 8, false}, /* mov %cr3,%r15 */
	{"44 0f 20 c0", INSN_MOV_FROM_CR, 8, false}, /* mov %cr8,%rax */
	{"0f 22 e0", INSN_MOV_TO_CR, 8, false},
	{"0f 21 f8", INSN_MOV_FROM_DR, 8, false},
	{"0f 23 f8", INSN_MOV_TO_DR, 8, false},
	{"0f 06", INSN_CLTS, 0, false},
	{"0f 01 f0", INSN_LMSW, 0, false},
	{"0f 01 38", INSN_INVLPG, 0, false},
	{"0f 32", INSN_RDMSR, 0, false},
	{"0f 30", INSN_WRMSR, 0, false},
	{"0f 31", INSN_RDTSC, 0, false},
	{"0f 01 f9", INSN_RDTSCP, 0, false},
	{"0f 33", INSN_RDPMC, 0, false},
	{"0f a2", INSN_CPUID, 0, false},
	{"0f 0b 78 65 6e 0f a2", INSN_FORCED_CPUID, 0, false},
	{"0f 01 d0", INSN_XGETBV, 0, false},
	{"0f 01 d1", INSN_XSETBV, 0, false},
	{"0f 09", INSN_WBINVD, 0, false},
	{"0f 08", INSN_INVD, 0, false},
	{"f4", INSN_HLT, 0, false},
	{"fa", INSN_CLI, 0, false},
	{"fb", INSN_STI, 0, false},
	{"e4 60", INSN_IN, 1, false},
	{"e5 60", INSN_IN, 4, false},
	{"ec", INSN_IN, 1, false},
	{"66 ed", INSN_IN, 2, false},
	{"e6 80", INSN_OUT, 1, false},
	{"ee", INSN_OUT, 1, false},
	{"ef", INSN_OUT, 4, false},
	{"6c", INSN_INS, 1, false},
	{"f3 6d", INSN_INS, 4, false},
	{"f3 66 6f", INSN_OUTS, 2, false},
	{"0f 01 10", INSN_DESC_TABLE, 0, false}, /* lgdt */
	{"0f 01 18", INSN_DESC_TABLE, 0, false}, /* lidt */
	{"0f 00 d0", INSN_DESC_TABLE, 0, false}, /* lldt %ax */
	{"0f 00 d8", INSN_DESC_TABLE, 0, false}, /* ltr %ax */
	{"0f 01 f8", INSN_SWAPGS, 0, false},
	{"48 0f 07", INSN_SYSRET, 0, false},
	{"cd 80", INSN_INT, 0, false},
	{"66 48 cd 03", INSN_INT, 0, false},
};

Test(x86_decode, forms)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		uint8_t b[16] = {0};
		unsigned n = unhex(forms[i].hex, b);
		struct insn in;

		cr_assert(insn_decode(&in, b, n), "%s is not accepted", forms[i].hex);
		cr_assert_eq(in.len, n, "%s: length %u", forms[i].hex, in.len);
		cr_assert_eq(in.op, forms[i].op, "%s: op %u", forms[i].hex, in.op);
		if (forms[i].size)
			cr_assert_eq(in.size, forms[i].size, "%s: size %u", forms[i].hex, in.size);
		cr_assert_eq(in.lock, forms[i].lock, "%s: lock", forms[i].hex);
		compare(b, 15);
	}
}

/* Every store opcode with every addressing mode, size, and register is accepted. */
Test(x86_decode, all_addressing)
{
	static const struct {
		uint8_t bytes[2], n, imm, op, group;
	} ops[] = {
		{{0x89}, 1, 0, INSN_MOV, 8},
		{{0x88}, 1, 0, INSN_MOV, 8},
		{{0xc7}, 1, 4, INSN_MOV, 0},
		{{0xc6}, 1, 1, INSN_MOV, 0},
		{{0x87}, 1, 0, INSN_XCHG, 8},
		{{0x86}, 1, 0, INSN_XCHG, 8},
		{{0x21}, 1, 0, INSN_AND, 8},
		{{0x09}, 1, 0, INSN_OR, 8},
		{{0x31}, 1, 0, INSN_XOR, 8},
		{{0x83}, 1, 1, INSN_AND, 4},
		{{0x83}, 1, 1, INSN_OR, 1},
		{{0x83}, 1, 1, INSN_XOR, 6},
		{{0x80}, 1, 1, INSN_AND, 4},
		{{0x81}, 1, 4, INSN_OR, 1},
		{{0x0f, 0xb1}, 2, 0, INSN_CMPXCHG, 8},
		{{0x0f, 0xc1}, 2, 0, INSN_XADD, 8},
		{{0x0f, 0xb3}, 2, 0, INSN_BTR, 8},
		{{0x0f, 0xab}, 2, 0, INSN_BTS, 8},
		{{0x0f, 0xba}, 2, 1, INSN_BTR, 6},
		{{0x0f, 0xba}, 2, 1, INSN_BTS, 5},
		{{0x0f, 0xc3}, 2, 0, INSN_MOV, 8},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		for (unsigned rex = 0; rex < 17; rex++) {
			for (unsigned m = 0; m < 192; m++) {
				uint8_t b[16] = {0};
				unsigned n = 0;
				struct insn in;

				if (ops[i].group < 8 && (m >> 3 & 7) != ops[i].group)
					continue;
				if (rex < 16)
					b[n++] = (uint8_t)(0x40 | rex);
				memcpy(b + n, ops[i].bytes, ops[i].n);
				n += ops[i].n;
				b[n++] = (uint8_t)m;
				for (; n < 15; n++)
					b[n] = (uint8_t)rnd();
				cr_assert(compare(b, 15), "op %zu rex %u modrm %02x", i, rex, m);
				insn_decode(&in, b, 15);
				cr_assert_eq(in.op, ops[i].op);
			}
		}
	}
}

/* Effective addresses as the CPU computes them: LEA on random operands. */
Test(x86_decode, effective_address)
{
	struct cpu_user_regs r;
	uint64_t *w = (uint64_t *)&r;

	for (unsigned i = 0; i < 200000; i++) {
		uint8_t b[16];
		struct insn in;
		ZydisDecodedInstruction z;
		ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
		ZydisRegisterContext ctx = {0};
		ZyanU64 want;

		for (size_t j = 0; j < sizeof(r) / 8; j++)
			w[j] = rnd();
		b[0] = rnd() & 1 ? 0x67 : 0x3e;
		b[1] = (uint8_t)(0x48 | (rnd() & 7));
		b[2] = 0x89;
		for (unsigned j = 3; j < 16; j++)
			b[j] = (uint8_t)rnd();
		if (!insn_decode(&in, b, 15))
			continue;
		cr_assert(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis, b, 15, &z, o)));
		if (zydis_r13d(&in, &o[0]))
			continue;
		for (int n = 0; n < 16; n++) {
			ctx.values[ZYDIS_REGISTER_RAX + n] = *insn_reg(&r, (unsigned)n);
			ctx.values[ZYDIS_REGISTER_EAX + n] = (uint32_t)*insn_reg(&r, (unsigned)n);
		}
		cr_assert(ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&z, &o[0], r.rip, &ctx, &want)));
		cr_assert_eq(insn_ea(&in, &r), want, "%02x %02x %02x %02x", b[0], b[1], b[2], b[3]);
	}
}

Test(x86_decode, registers)
{
	struct cpu_user_regs r = {.rax = 0x1122334455667788, .rbx = 0xa0b0c0d0e0f00102};
	struct insn in = {.reg = 0, .size = 2};

	cr_assert_eq(insn_reg_read(&in, &r), 0x7788);
	in = (struct insn){.reg = 4, .size = 1, .high8 = true};
	cr_assert_eq(insn_reg_read(&in, &r), 0x77);
	insn_reg_store(&r, 7, 1, true, 0xee);
	cr_assert_eq(r.rbx, 0xa0b0c0d0e0f0ee02);
	insn_reg_store(&r, 3, 4, false, ~0ULL);
	cr_assert_eq(r.rbx, 0xffffffff);
	insn_reg_store(&r, 0, 2, false, 0);
	cr_assert_eq(r.rax, 0x1122334455660000);
}
