/* SPDX-License-Identifier: MIT */
/*
 * User-mode programs: copied to USER_TEXT of each process, so position
 * independent and without writable data of their own.
 */
#include "user/user.h"

#define DATA ((volatile uint64_t *)0x600000)

static uint64_t syscall2(uint64_t nr, uint64_t a, uint64_t b)
{
	__asm__ volatile("syscall" : "+a"(nr) : "D"(a), "S"(b) : "rcx", "r11", "memory");
	return nr;
}

static uint64_t report(uint64_t a, uint64_t b)
{
	return syscall2(SYS_REPORT, a, b);
}

#define INSN(n, text)                                                            \
	case n:                                                                  \
		__asm__ volatile(text ::: "rax", "rbx", "rcx", "rdx", "memory"); \
		break

static void insn(uint64_t n)
{
	switch (n) {
		INSN(INSN_UD2, "ud2");
		INSN(INSN_DIV0, "xorl %%ecx, %%ecx; xorl %%edx, %%edx; divl %%ecx");
		INSN(INSN_INT3, "int3");
		INSN(INSN_INT80, "int $0x80");
		INSN(INSN_INT90, "int $0x90");
		INSN(INSN_INT14, "int $14");
		INSN(INSN_HLT, "hlt");
		INSN(INSN_CLI, "cli");
		INSN(INSN_STI, "sti");
		INSN(INSN_IN, "inb $0x80, %%al");
		INSN(INSN_OUT, "outb %%al, $0x80");
		INSN(INSN_RDMSR, "movl $0xc0000080, %%ecx; rdmsr");
		INSN(INSN_WRMSR, "movl $0xc0000080, %%ecx; wrmsr");
		INSN(INSN_MOV_TO_CR3, "xorl %%eax, %%eax; movq %%rax, %%cr3");
		INSN(INSN_MOV_FROM_CR0, "movq %%cr0, %%rax");
		INSN(INSN_LGDT, "lgdt (%%rsp)");
		INSN(INSN_LIDT, "lidt (%%rsp)");
		INSN(INSN_LLDT, "xorl %%eax, %%eax; lldt %%ax");
		INSN(INSN_LTR, "xorl %%eax, %%eax; ltr %%ax");
		INSN(INSN_CLTS, "clts");
		INSN(INSN_INVLPG, "invlpg (%%rsp)");
		INSN(INSN_WBINVD, "wbinvd");
		INSN(INSN_MOV_TO_DR7, "xorl %%eax, %%eax; movq %%rax, %%dr7");
		INSN(INSN_SWAPGS, "swapgs");
		INSN(INSN_SYSRET, "sysretq");
		INSN(INSN_XSETBV, "xorl %%ecx, %%ecx; movl $7, %%eax; xorl %%edx, %%edx; xsetbv");
		INSN(INSN_RDPMC, "xorl %%ecx, %%ecx; rdpmc");
		INSN(INSN_NONCANON, "movabsq $0x8000000000000000, %%rax; movq (%%rax), %%rax");
	}
}

static void fp(uint64_t pattern)
{
	for (;;) {
		uint64_t a, b;
		uint32_t csr = 0x1f80 | (uint32_t)(pattern & 3) << 13;

		__asm__ volatile(
			"movq %0, %%xmm3; movq %1, %%xmm12; ldmxcsr %2; fninit; fildll %3" ::"r"(
				pattern),
			"r"(~pattern), "m"(csr), "m"(pattern));
		syscall2(SYS_YIELD, 0, 0);
		csr = 0;
		__asm__ volatile("movq %%xmm3, %0; movq %%xmm12, %1; stmxcsr %2"
				 : "=r"(a), "=r"(b), "=m"(csr));
		if (a != pattern || b != ~pattern ||
		    (csr & 0x6000) != (uint32_t)(pattern & 3) << 13)
			report(a, b);
		__asm__ volatile("fistpll %0" : "=m"(a));
		if (a != pattern)
			report(a, 0);
	}
}

static void regs(void)
{
	uint64_t bad;

	/* rcx and r11 hold rip and rflags after SYSCALL; all others are kept. */
	__asm__ volatile("movq $0x1111, %%rbx; movq $0x2222, %%rdx; movq $0x3333, %%r8\n"
			 "movq $0x4444, %%r9; movq $0x5555, %%r10; movq $0x6666, %%r12\n"
			 "movq $0x7777, %%r13; movq $0x8888, %%r14; movq $0x9999, %%r15\n"
			 "movl $3, %%eax; movq $0xaaaa, %%rdi; movq $0xbbbb, %%rsi\n"
			 "syscall\n1:\n"
			 "subq $0x1111, %%rbx; subq $0x2222, %%rdx; subq $0x3333, %%r8\n"
			 "subq $0x4444, %%r9; subq $0x5555, %%r10; subq $0x6666, %%r12\n"
			 "subq $0x7777, %%r13; subq $0x8888, %%r14; subq $0x9999, %%r15\n"
			 "subq $0xaaaa, %%rdi; subq $0xbbbb, %%rsi; subq $0xcccc, %%rax\n"
			 "orq %%rbx, %%rax; orq %%rdx, %%rax; orq %%r8, %%rax; orq %%r9, %%rax\n"
			 "orq %%r10, %%rax; orq %%r12, %%rax; orq %%r13, %%rax; orq %%r14, %%rax\n"
			 "orq %%r15, %%rax; orq %%rdi, %%rax; orq %%rsi, %%rax\n"
			 "leaq 1b(%%rip), %%rbx; subq %%rcx, %%rbx; orq %%rbx, %%rax\n"
			 : "=a"(bad)
			 :
			 : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			   "r13", "r14", "r15", "memory");
	report(bad, 0);
}

static void cpuid(uint32_t leaf)
{
	uint32_t a = leaf, b, c = 0, d, lo, hi;
	uint64_t t0, t1;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	report(b, (uint64_t)c << 32 | d);
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	t0 = (uint64_t)hi << 32 | lo;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	t1 = (uint64_t)hi << 32 | lo;
	report(t0, t1);
}

static void seg(void)
{
	uint64_t fs, gs;

	__asm__ volatile("movq %%fs:0, %0; movq %%gs:0, %1" : "=r"(fs), "=r"(gs));
	report(fs, gs);
}

static void spin(void)
{
	uint64_t n = 0;

	while (!DATA[1])
		DATA[3] = ++n; /* so that upcalls can tell that it got anywhere */
	report(n, DATA[1]);
}

__attribute__((section(".user.head"), noreturn)) void user_start(uint64_t test, uint64_t arg);
void user_start(uint64_t test, uint64_t arg)
{
	uint64_t ret = 0;

	switch (test) {
	case USER_ECHO:
		for (;;)
			ret = report(DATA[0], ret);
	case USER_READ:
		report(*(volatile uint64_t *)arg, 0);
		break;
	case USER_WRITE:
		*(volatile uint64_t *)arg = 0x55;
		break;
	case USER_JUMP:
		((void (*)(void))arg)();
		break;
	case USER_INSN:
		insn(arg);
		break;
	case USER_FP:
		fp(arg);
		break;
	case USER_SEG:
		seg();
		break;
	case USER_CPUID:
		cpuid((uint32_t)arg);
		break;
	case USER_SPIN:
		spin();
		break;
	case USER_REGS:
		regs();
		break;
	case USER_CALL32:
		/* FLAT_RING3_CS32 */
		__asm__ volatile("pushq $0xe023; leaq 1f(%%rip), %%rax; pushq %%rax; lretq\n"
				 ".code32\n1: movl $0x32, %%ebx; syscall; ud2\n.code64" ::
					 : "rax", "rbx", "rcx", "r11", "memory");
		break;
	case USER_STEP:
		__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "memory");
		break;
	}
	for (;;)
		report(0x600d, 0);
}
