/* SPDX-License-Identifier: MIT */
/* FPU, SSE and (where XCR0 has it) AVX state must follow the vCPU. */
#include "roles/fpu.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "rt/trap.h"

/* Turn on XSAVE and AVX on this vCPU, as Linux PV does; false if there is none. */
static bool enable_avx(void)
{
	uint32_t a = 1, b, c, d;
	unsigned long cr4;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	if (!(c >> 26 & 1) || !(c >> 28 & 1))
		return false;
	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	if (PROBE("movq %1, %%cr4", "r"(cr4 | 1UL << 18)))
		return false;
	return !PROBE("xsetbv", "a"(7), "d"(0), "c"(0));
}

#define EACH_REG(op)                                                                            \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) \
		op(14) op(15)
#define LOAD_XMM(i) "movdqu " #i "*32(%0), %%xmm" #i "\n"
#define SAVE_XMM(i) "movdqu %%xmm" #i ", " #i "*32(%0)\n"
#define LOAD_YMM(i) "vmovdqu " #i "*32(%0), %%ymm" #i "\n"
#define SAVE_YMM(i) "vmovdqu %%ymm" #i ", " #i "*32(%0)\n"

struct state {
	uint64_t v[16][4];
	uint16_t cw;
	uint32_t mxcsr;
	double st;
};

static void load(struct state *s, bool avx)
{
	if (avx)
		__asm__ volatile(EACH_REG(LOAD_YMM)::"r"(s->v) : "memory");
	else
		__asm__ volatile(EACH_REG(LOAD_XMM)::"r"(s->v) : "memory");
	__asm__ volatile("fninit; fldcw %0; ldmxcsr %1; fldl %2" ::"m"(s->cw), "m"(s->mxcsr),
			 "m"(s->st));
}

static void save(struct state *s, bool avx)
{
	if (avx)
		__asm__ volatile(EACH_REG(SAVE_YMM)::"r"(s->v) : "memory");
	else
		__asm__ volatile(EACH_REG(SAVE_XMM)::"r"(s->v) : "memory");
	__asm__ volatile("fstl %0; fnstcw %1; stmxcsr %2"
			 : "=m"(s->st), "=m"(s->cw), "=m"(s->mxcsr));
}

static void hold(void *arg)
{
	struct state *want = page_alloc(), *got = page_alloc();
	unsigned int id = this_cpu()->id;
	bool avx = enable_avx();

	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int j = 0; j < (avx ? 4 : 2); j++)
			want->v[i][j] = (id + 1) * 0x0101010101010101ULL + i * 4 + j;
	want->cw = id & 1 ? 0x37f : 0x77f;
	want->mxcsr = id & 1 ? 0x1f80 : 0x3f80;
	*(uint64_t *)&want->st = 0x4000000000000000ULL + ((uint64_t)id << 32); /* 2.0 and a bit */
	load(want, avx);
	for (unsigned long i = 0; i < (unsigned long)arg; i++) {
		if (i % 16 == 0)
			sleep_until(time_ns() + 100000);
		else
			hc_sched(SCHEDOP_yield, NULL);
		save(got, avx);
		CHECK(!memcmp(want, got, sizeof(*want)), "FPU state of vcpu %u, round %lu", id, i);
	}
	page_free(want);
	page_free(got);
}

void fpu_test(unsigned long rounds)
{
	smp_call_all(hold, (void *)rounds);
	printf("mini: smp fpu ok avx=%d\n", enable_avx());
}
