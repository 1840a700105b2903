/* SPDX-License-Identifier: MIT */
/* The state a user process has in the CPU, kept by kernel and hypervisor together. */
#include "roles/proc.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "user/user.h"
#include <stdatomic.h>
#include <xen/callback.h>

static void test_fp(void)
{
	struct proc *a = proc_create(USER_FP, 0x1234), *b = proc_create(USER_FP, 0x98761);

	for (int i = 0; i < 50; i++) {
		struct proc *p = i & 1 ? a : b;

		CHECK_EQ(proc_run(p), TRAP_SYSCALL, "FP process");
		if (p->regs.rax != SYS_YIELD)
			role_fail("FP state mixed up: %lx %lx", p->regs.rdi, p->regs.rsi);
	}
	/* With TS set, the first use traps to the guest kernel, and only the first. */
	a->regs.rip = USER_TEXT;
	a->regs.rdi = USER_FP;
	a->regs.rsi = 0x4321;
	a->fpu_off = true;
	CHECK_EQ(proc_run(a), TRAP_NM, "first FP use after fpu_taskswitch");
	a->fpu_off = false;
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(proc_run(a), TRAP_SYSCALL, "after #NM");
		CHECK_EQ(a->regs.rax, SYS_YIELD, "after #NM");
	}
	/* In the kernel as well; the hypervisor has cleared TS for the handler. */
	HC1(fpu_taskswitch, 1);
	CHECK_EQ(PROBE("fnop", "r"(0)), FAULT(TRAP_NM), "FP use with TS");
	CHECK_EQ(PROBE("fnop", "r"(0)), 0, "TS after #NM");
	proc_destroy(a);
	proc_destroy(b);
	printf("mini: proc fp ok\n");
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

static struct selectors {
	uint16_t ds, es, fs, gs;
} selectors(void)
{
	struct selectors s;

	__asm__ volatile("movw %%ds, %0; movw %%es, %1; movw %%fs, %2; movw %%gs, %3"
			 : "=r"(s.ds), "=r"(s.es), "=r"(s.fs), "=r"(s.gs));
	return s;
}

/*
 * A return that cannot be made enters the failsafe callback with the data selectors as they are:
 * guest kernels tell a bad return from a bad selector by comparing.
 */
static void test_failsafe(void)
{
	struct proc *p = proc_create(USER_ECHO, 0);
	unsigned long *sel = this_cpu()->failsafe_sel;
	struct selectors was = selectors(), now;

	PROBE("movw %w1, %%ds", "r"(FLAT_RING3_DS32));
	PROBE("movw %w1, %%es", "r"(FLAT_RING3_DS32));
	p->regs.cs = 0x7f3;
	CHECK_EQ(proc_run(p), TRAP_FAILSAFE, "return to a CS that is not there");
	CHECK_EQ(p->regs.cs, 0x7f3, "CS in the failsafe frame");
	CHECK_EQ(p->regs.rip, USER_TEXT, "rip in the failsafe frame");
	now = selectors();
	CHECK_EQ(now.ds, FLAT_RING3_DS32, "DS");
	CHECK(sel[0] == now.ds && sel[1] == now.es && sel[2] == now.fs && sel[3] == now.gs,
	      "selectors in the failsafe frame: %lx %lx %lx %lx", sel[0], sel[1], sel[2], sel[3]);
	PROBE("movw %w1, %%ds", "r"(was.ds));
	PROBE("movw %w1, %%es", "r"(was.es));
	p->regs.cs = FLAT_USER_CS;
	expect_report(p, 0, "after the bad return");
	proc_destroy(p);
	printf("mini: proc failsafe ok\n");
}

/* SYSCALL in 32-bit code has a callback of its own. */
static void test_syscall32(void)
{
	struct proc *p = proc_create(USER_CALL32, 0);
	unsigned long at;

	CHECK_EQ(proc_run(p), TRAP_UD, "32-bit system call without a callback");
	CHECK_EQ(p->regs.cs, FLAT_USER_CS32, "CS of 32-bit code");
	at = p->regs.rip;
	trap_callback(CALLBACKTYPE_syscall32, syscall32_callback);
	CHECK_EQ(proc_run(p), TRAP_SYSCALL32, "32-bit system call");
	CHECK_EQ(p->regs.cs, FLAT_USER_CS32, "CS of a 32-bit system call");
	CHECK_EQ(p->regs.rip, at + 2, "where a 32-bit system call returns to");
	CHECK_EQ(p->regs.rbx, 0x32, "register of a 32-bit system call");
	CHECK_EQ(proc_run(p), TRAP_UD, "behind the 32-bit system call");
	CHECK_EQ(p->regs.cs, FLAT_USER_CS32, "still 32-bit code");
	proc_destroy(p);
	printf("mini: proc 32-bit system call ok\n");
}

static void test_seg(void)
{
	struct proc *p = proc_create(USER_SEG, 0);
	uint64_t *d = (uint64_t *)p->data;

	d[32] = 0xf5;
	d[64] = 0x65;
	p->fs_base = USER_DATA + 32 * 8;
	p->gs_base = USER_DATA + 64 * 8;
	expect_report(p, 0xf5, "FS base");
	CHECK_EQ(p->regs.rsi, 0x65, "user GS base");
	CHECK_EQ(rdmsr(0xc0000100), p->fs_base, "MSR_FS_BASE");
	CHECK_EQ(rdmsr(0xc0000102), p->gs_base, "MSR_KERNEL_GS_BASE is the user's in the kernel");
	CHECK_EQ(rdmsr(0xc0000101), this_cpu(), "MSR_GS_BASE");
	/* The same by MSR. */
	d[33] = 0xf6;
	d[65] = 0x66;
	p->bases_by_hand = true;
	wrmsr(0xc0000100, USER_DATA + 33 * 8);
	wrmsr(0xc0000102, USER_DATA + 65 * 8);
	p->regs.rip = USER_TEXT;
	p->regs.rdi = USER_SEG;
	expect_report(p, 0xf6, "FS base by MSR");
	CHECK_EQ(p->regs.rsi, 0x66, "user GS base by MSR");
	CHECK_EQ(HC2(set_segment_base, SEGBASE_FS, 0x8000000000000000UL), -XEN_EINVAL,
		 "non-canonical FS base");
	CHECK_EQ(HC2(set_segment_base, 99, 0), -XEN_EINVAL, "unknown segment base");
	/* Linux BUG()s on an error here, and passes on what its users put into GS. */
	wrmsr(0xc0000102, USER_DATA);
	CHECK_EQ(HC2(set_segment_base, SEGBASE_GS_USER_SEL, 0x7f3), 0, "bad selector for GS");
	CHECK_EQ(selectors().gs, 0, "GS after a bad selector");
	CHECK_EQ(HC2(set_segment_base, SEGBASE_GS_USER_SEL, FLAT_RING3_DS32 & ~3), 0,
		 "GS selector");
	CHECK_EQ(selectors().gs, FLAT_RING3_DS32, "GS selector loaded");
	CHECK_EQ(HC2(set_segment_base, SEGBASE_GS_USER_SEL, 0), 0, "null selector for GS");
	CHECK_EQ(rdmsr(0xc0000101), this_cpu(), "MSR_GS_BASE after changes of the user's GS");
	proc_destroy(p);
	printf("mini: proc segments ok\n");
}

static void test_debug(void)
{
	struct proc *p = proc_create(USER_WRITE, USER_DATA + 0x100);
	unsigned long dr6;

	/* Break on writes to 8 bytes: L0, R/W0 = 1, LEN0 = 2. */
	CHECK_EQ(HC2(set_debugreg, 0, USER_DATA + 0x100), 0, "set_debugreg 0");
	CHECK_EQ(HC2(set_debugreg, 7, 0x401 | 1 << 16 | 2 << 18), 0, "set_debugreg 7");
	CHECK_EQ(HC1(get_debugreg, 0), USER_DATA + 0x100, "get_debugreg 0");
	CHECK_EQ(proc_run(p), TRAP_DB, "watched write");
	dr6 = (unsigned long)HC1(get_debugreg, 6);
	CHECK_EQ(dr6 & 0xf, 1, "DR6");
	CHECK_EQ(HC2(set_debugreg, 7, 0), 0, "set_debugreg 7");
	expect_report(p, 0x600d, "after the breakpoint");
	CHECK_EQ(HC2(set_debugreg, 0, 0xffff820000000000UL), -XEN_EPERM, "watch the hypervisor");
	CHECK_EQ(HC2(set_debugreg, 6, 0), 0, "clear DR6");

	p->regs.rip = USER_TEXT;
	p->regs.rdi = USER_STEP;
	CHECK_EQ(proc_run(p), TRAP_DB, "single step");
	CHECK(p->regs.rflags & 0x100, "TF in the frame");
	CHECK_EQ(HC1(get_debugreg, 6) & 0x4000, 0x4000, "DR6.BS");
	p->regs.rflags &= ~0x100UL;
	expect_report(p, 0x600d, "after the step");
	HC2(set_debugreg, 6, 0);
	proc_destroy(p);
	printf("mini: proc debug ok\n");
}

static bool step_hook(struct regs *r)
{
	r->rflags &= ~0x100UL;
	return r->vec == TRAP_DB;
}

/* A single step over an instruction that is emulated looks like any other. */
static void test_emulated_step(void)
{
	unsigned long count = this_cpu()->trap.count;

	HC2(set_debugreg, 6, 0);
	trap_hook = step_hook;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; rdmsr" ::"c"(0xc0000080)
			 : "rax", "rdx", "memory", "cc");
	trap_hook = NULL;
	CHECK_EQ(this_cpu()->trap.count, count + 1, "traps of a step over RDMSR");
	CHECK_EQ(this_cpu()->trap.vec, TRAP_DB, "step over RDMSR");
	CHECK_EQ(HC1(get_debugreg, 6) & 0x4000, 0x4000, "DR6.BS after an emulated instruction");
	HC2(set_debugreg, 6, 0);
}

static bool breakpoint_hook(struct regs *r)
{
	return r->vec == TRAP_BP;
}

/*
 * The two-byte form looks like a breakpoint that was taken away by the time someone looks: it is
 * delivered like any other, and the code stays what it was.
 */
static void test_breakpoint(void)
{
	extern const uint8_t long_int3[], short_int3[];
	unsigned long count = this_cpu()->trap.count;

	trap_hook = breakpoint_hook;
	__asm__ volatile("long_int3: .byte 0xcd, 0x03" ::: "memory");
	CHECK_EQ(this_cpu()->trap.rip, (unsigned long)long_int3 + 2, "rip after int 3");
	__asm__ volatile("short_int3: int3" ::: "memory");
	CHECK_EQ(this_cpu()->trap.rip, (unsigned long)short_int3 + 1, "rip after int3");
	trap_hook = NULL;
	CHECK_EQ(this_cpu()->trap.count, count + 2, "breakpoints");
	CHECK(long_int3[0] == 0xcd && long_int3[1] == 3 && short_int3[0] == 0xcc, "code changed");
}

static struct proc *spinner;
static uint64_t spinner_seen; /* its count at the last upcall */

static void stop_spinner(uint32_t port, void *arg)
{
	(void)port;
	(void)arg;
	/* On a slow host a tick may be due before the process ran again: that one does not count. */
	if (((uint64_t *)spinner->data)[3] != spinner_seen) {
		spinner_seen = ((uint64_t *)spinner->data)[3];
		((uint64_t *)spinner->data)[2]++;
	}
	if (((uint64_t *)spinner->data)[2] == 5)
		((uint64_t *)spinner->data)[1] = 0x570b;
	else
		timer_arm(time_ns() + 300000, 0);
}

/* Upcalls into user mode: the process goes on where it was. */
static void test_events(void)
{
	uint32_t port = this_cpu()->timer_port;

	spinner = proc_create(USER_SPIN, 0);
	spinner_seen = 0;
	event_close(port);
	this_cpu()->timer_port = (uint32_t)event_bind_virq(VIRQ_TIMER, 0);
	event_handle(this_cpu()->timer_port, stop_spinner, NULL);
	event_unmask(this_cpu()->timer_port);
	timer_arm(time_ns() + 300000, 0);
	CHECK_EQ(proc_run(spinner), TRAP_SYSCALL, "spinner");
	CHECK_EQ(spinner->regs.rsi, 0x570b, "spinner's end");
	CHECK(spinner->regs.rdi, "spinner counted");
	CHECK_EQ(((uint64_t *)spinner->data)[2], 5, "upcalls in user mode");
	event_close(this_cpu()->timer_port);
	this_cpu()->timer_port = 0;
	timer_init();
	proc_destroy(spinner);
	printf("mini: proc events ok\n");
}

static void test_regs(void)
{
	struct proc *p = proc_create(USER_REGS, 0);
	struct regs *r = &p->regs;

	CHECK_EQ(proc_run(p), TRAP_SYSCALL, "system call");
	CHECK(r->rax == SYS_REGS && r->rdi == 0xaaaa && r->rsi == 0xbbbb && r->rbx == 0x1111 &&
		      r->rdx == 0x2222 && r->r8 == 0x3333 && r->r9 == 0x4444 && r->r10 == 0x5555 &&
		      r->r12 == 0x6666 && r->r13 == 0x7777 && r->r14 == 0x8888 && r->r15 == 0x9999,
	      "registers of a system call");
	CHECK_EQ(r->rcx, r->rip, "rcx of a system call");
	CHECK_EQ(r->r11 & 0x200, 0x200, "r11 of a system call");
	r->rax = 0xcccc;
	expect_report(p, 0, "registers after the system call");
	proc_destroy(p);
	printf("mini: proc system call ok\n");
}

static void test_cpuid(void)
{
	struct proc *p = proc_create(USER_CPUID, 0);
	uint64_t b, cd;

	CHECK_EQ(proc_run(p), TRAP_SYSCALL, "CPUID");
	b = p->regs.rdi;
	cd = p->regs.rsi;
	/* A vendor string: twelve printable letters. */
	for (int i = 0; i < 4; i++)
		CHECK((b >> 8 * i & 0xff) >= ' ' && (cd >> 8 * i & 0xff) >= ' ', "vendor %lx %lx",
		      b, cd);
	CHECK_EQ(proc_run(p), TRAP_SYSCALL, "RDTSC");
	CHECK(p->regs.rsi > p->regs.rdi, "TSC went back");
	proc_destroy(p);
	printf("mini: proc cpuid ok\n");
}

void proc_state_tests(void)
{
	test_regs();
	test_fp();
	test_seg();
	test_failsafe();
	test_syscall32();
	test_debug();
	test_emulated_step();
	test_breakpoint();
	test_events();
	test_cpuid();
}
