/* SPDX-License-Identifier: MIT */
#include "core/x86/insn_fetch.h"

#include <arch/cpu.h>

#include "core/arch.h"
#include "core/x86/extable.h"
#include "core/x86/uaccess.h"
#include "percpu/pcpu.h"

#define CACHE_BITS 4
#define CACHE_ENTRIES (1u << CACHE_BITS)

struct cached {
	uint64_t bytes[2]; /* the 16 at the instruction; all that decide, and one more */
	struct insn in;	   /* op INSN_NONE: empty */
} CACHE_ALIGNED;

/* Private to each pCPU; the last entry is for instructions that are not cached. */
static struct cached cache[MAX_PCPUS][CACHE_ENTRIES + 1];

/* 16 bytes, neither of two pages missing in between. False when they can't be read. */
static inline bool read16(uint64_t rip, uint64_t *lo, uint64_t *hi)
{
	uint64_t a, b, bad;

	__asm__ volatile("xor %k[bad], %k[bad]\n"
			 "1:\tmov (%[p]), %[a]\n"
			 "2:\tmov 8(%[p]), %[b]\n"
			 "\tjmp 4f\n"
			 "3:\tmov $1, %k[bad]\n"
			 "4:\n\t" EX_ENTRY(1b, 3b) EX_ENTRY(2b, 3b)
			 : [a] "=&r"(a), [b] "=&r"(b), [bad] "=&r"(bad)
			 : [p] "r"(rip)
			 : "memory", "cc");
	*lo = a;
	*hi = b;
	return !bad;
}

/* Near the end of a page the instruction may stop before the next one, which may be missing. */
static __attribute__((noinline)) const struct insn *fetch_slowly(struct cached *c, uint64_t rip)
{
	uint8_t buf[INSN_MAX];
	size_t first = MIN(PAGE_SIZE - (rip & (PAGE_SIZE - 1)), (size_t)INSN_MAX);

	if (copy_from_guest(buf, rip, first))
		return NULL;
	if (insn_decode(&c->in, buf, first))
		return &c->in;
	if (first == INSN_MAX || copy_from_guest(buf + first, rip + first, INSN_MAX - first))
		return NULL;
	return insn_decode(&c->in, buf, INSN_MAX) ? &c->in : NULL;
}

static __attribute__((noinline)) const struct insn *fill(struct cached *c, uint64_t a, uint64_t b)
{
	c->bytes[0] = a;
	c->bytes[1] = b;
	return insn_decode(&c->in, (const uint8_t *)c->bytes, INSN_MAX) ? &c->in : NULL;
}

const struct insn *insn_fetch(uint64_t rip)
{
	struct cached *mine = cache[this_pcpu()->id];
	struct cached *c = &mine[rip * 0x9e3779b97f4a7c15ULL >> (64 - CACHE_BITS)];
	uint64_t a, b;

	if (unlikely((rip & (PAGE_SIZE - 1)) > PAGE_SIZE - 16))
		return fetch_slowly(&mine[CACHE_ENTRIES], rip);
	if (unlikely(!guest_range_ok(rip, 16) || !read16(rip, &a, &b)))
		return NULL;
	if (likely(c->bytes[0] == a && c->bytes[1] == b && c->in.op != INSN_NONE))
		return &c->in;
	return fill(c, a, b);
}
