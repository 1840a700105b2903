/* SPDX-License-Identifier: MIT */
/*
 * Privileged instructions in guest-kernel mode. Each is emulated or faults;
 * the vCPU's own state has to be what it was after all of them.
 */
#include "roles/evil.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"
#include "rt/trap.h"

#define INSN(name, text)                                                                         \
	static void do_##name(void *arg)                                                         \
	{                                                                                        \
		__asm__ volatile(text ::"D"(arg) : "rax", "rbx", "rcx", "rdx", "rsi", "memory"); \
	}

#include "roles/evil_insns.h"
#undef INSN

#define INSN(name, text) {#name, do_##name},
static const struct {
	const char *name;
	void (*run)(void *);
} insns[] = {
#include "roles/evil_insns.h"
};
#undef INSN

static const uint32_t msrs[] = {
	0x10,	    0x1b,	0x3a,	    0x48,	0x49,	    0x8b,	0xc1,
	0xe7,	    0xfe,	0x174,	    0x175,	0x176,	    0x179,	0x186,
	0x1a0,	    0x1d9,	0x200,	    0x277,	0x2ff,	    0x38f,	0x400,
	0x480,	    0x6e0,	0x802,	    0x830,	0xda0,	    0x40000000, 0x40000001,
	0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000103, 0xc0010010,
	0xc0010015, 0xc0010114, 0xc0010117, 0xdeadbeef,
};

static struct {
	uint32_t nr;
	uint64_t val;
} msr;

static void read_msr(void *arg)
{
	uint32_t lo, hi;

	(void)arg;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr.nr));
	msr.val = (uint64_t)hi << 32 | lo;
}

static void write_msr(void *arg)
{
	(void)arg;
	__asm__ volatile("wrmsr" ::"c"(msr.nr), "a"((uint32_t)msr.val),
			 "d"((uint32_t)(msr.val >> 32)));
}

static void test_msrs(void)
{
	unsigned int reads = 0, writes = 0;

	for (unsigned int i = 0; i < ARRAY_LEN(msrs) + 200; i++) {
		msr.nr = i < ARRAY_LEN(msrs) ? msrs[i] : (uint32_t)rnd() & 0xc0001fff;
		/* The base registers are this vCPU's own to break. */
		if (msr.nr >= 0xc0000100 && msr.nr <= 0xc0000102)
			continue;
		reads += !trap_guard(read_msr, NULL);
		for (unsigned int k = 0; k < 4; k++) {
			msr.val = k == 0 ? 0 : k == 1 ? ~0UL : rnd();
			writes += !trap_guard(write_msr, NULL);
		}
	}
	printf("mini: evil priv msr reads=%u writes=%u emulated\n", reads, writes);
}

#define INT_VA (TEST_BASE + 0x800000)

static void do_int(void *arg)
{
	((void (*)(void))arg)();
}

/* int n for every n: a gate, or #GP; 0x80 is ours, 3 and 4 too. */
static void test_ints(void)
{
	uint8_t *code = page_alloc();
	unsigned int faults = 0;

	pt_map(kernel_l4, INT_VA, MK_PTE(virt_to_mfn(code), PTE_KERN_RO));
	for (unsigned int v = 0; v < 256; v++) {
		const uint8_t text[3] = {0xcd, (uint8_t)v, 0xc3}; /* int $v; ret */

		memcpy(code, text, sizeof(text));
		faults += trap_guard(do_int, (void *)INT_VA) != 0;
	}
	printf("mini: evil priv int faults=%u\n", faults);
}

void evil_priv(void)
{
	uint8_t *buf = page_alloc();
	unsigned int faults = 0;
	unsigned long tick = 0;

	for (unsigned int i = 0; i < ARRAY_LEN(insns); i++) {
		unsigned long st;

		/* HLT may be emulated, by a block that needs an event to end. */
		timer_arm(time_ns() + 5000000, 0);
		st = trap_guard(insns[i].run, buf);
		faults += st != 0;
		if (arg_num("verbose", 0))
			printf("mini: evil priv %s %lx\n", insns[i].name, st);
		HC1(fpu_taskswitch, 0);
		HC2(set_debugreg, 7, 0);
		__asm__ volatile(
			"movw %w0, %%ss; movw %w1, %%ds; movw %w1, %%es" ::"r"(FLAT_KERNEL_SS),
			"r"(0));
		/* Still in ring 3, with our own GS base. */
		__asm__ volatile("movq %%cs, %0" : "=r"(tick));
		CHECK_EQ(tick & 3, 3, insns[i].name);
		CHECK_EQ(this_cpu()->self, this_cpu(), insns[i].name);
	}
	page_free(buf);
	printf("mini: evil priv instructions=%zu faults=%u\n", ARRAY_LEN(insns), faults);
	test_msrs();
	test_ints();
}
