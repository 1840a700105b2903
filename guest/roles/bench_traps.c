/* SPDX-License-Identifier: MIT */
/* Traps that the guest handles itself, and the way to user mode and back. */
#include "roles/bench.h"
#include "rt/event.h"
#include "rt/mem.h"
#include "rt/proc.h"
#include "rt/role.h"
#include "rt/trap.h"

#define CODE 0x700000UL /* of the process: two instructions, each at its own place */
#define CODE_FAULT (CODE + 64)
#define NOT_MAPPED (TEST_BASE + 0x7000000000UL)

extern char bench_fault_entry[], bench_fault_user_entry[], bench_syscall_entry[];
void bench_user(unsigned long rip, unsigned long flags);
void bench_fault(unsigned long va);

/*
 * bench_fault reads from an address; its handler steps over the instruction of 3 bytes.
 * bench_user leaves for user mode at rip; its handlers come back to who called it.
 */
__asm__(".pushsection .text\n"
	"bench_fault:\n"
	"	movq	(%rdi), %rax\n"
	"	ret\n"
	"bench_fault_entry:\n"
	"	popq	%rcx\n"
	"	popq	%r11\n"
	"	movq	$0, (%rsp)\n" /* the error code's place: iret's flags */
	"	addq	$3, 8(%rsp)\n"
	"	jmp	hypercall_page + 23 * 32\n"
	"bench_user:\n"
	"	pushq	%rbx\n"
	"	pushq	%rbp\n"
	"	pushq	%r12\n"
	"	pushq	%r13\n"
	"	pushq	%r14\n"
	"	pushq	%r15\n"
	"	movq	%rsp, bench_user_rsp(%rip)\n"
	"	movq	%rdi, %rcx\n"
	"	movq	$0x202, %r11\n"
	"	pushq	$0xe02b\n" /* ss, rsp, rflags, cs, rip: user mode */
	"	pushq	$0x700800\n"
	"	pushq	%r11\n"
	"	pushq	$0xe033\n"
	"	pushq	%rcx\n"
	"	pushq	%rsi\n"
	"	movl	$0x1000, %edi\n"
	"	jmp	hypercall_page + 23 * 32\n"
	"bench_fault_user_entry:\n"
	"bench_syscall_entry:\n"
	"	movq	bench_user_rsp(%rip), %rsp\n"
	"	popq	%r15\n"
	"	popq	%r14\n"
	"	popq	%r13\n"
	"	popq	%r12\n"
	"	popq	%rbp\n"
	"	popq	%rbx\n"
	"	ret\n"
	".popsection\n"
	".pushsection .bss\n"
	"	.balign 8\n"
	"bench_user_rsp: .quad 0\n"
	".popsection\n");
_Static_assert(__HYPERVISOR_iret == 23 && FLAT_USER_CS == 0xe033 && FLAT_USER_SS == 0xe02b,
	       "the numbers in the code above");

static struct proc *process;

static void gate(char *entry)
{
	struct trap_info t[2] = {{TRAP_PF, 4, FLAT_KERNEL_CS, (unsigned long)entry}};

	CHECK_EQ(HC1(set_trap_table, t), 0, "set_trap_table");
}

static void fault_start(void)
{
	gate(bench_fault_entry);
}

static void fault(void)
{
	bench_fault(NOT_MAPPED);
}

static void fault_end(void)
{
	trap_init();
}

static void base(unsigned int cmd, unsigned long pfn)
{
	CHECK_EQ(mmuext_simple(cmd, pfn_to_mfn(pfn)), 0, "base pointer");
}

static void user_start(void)
{
	static const uint8_t call[] = {0x0f, 0x05}, load[] = {0x48, 0x8b, 0x07};
	uint8_t *code = page_alloc();

	memcpy(code, call, sizeof(call));
	memcpy(code + (CODE_FAULT - CODE), load, sizeof(load));
	process = proc_create(0, 0);
	pt_map(process->kernel_l4, CODE, MK_PTE(virt_to_mfn(code), PTE_USER_RO));
	events_mask();
	base(MMUEXT_NEW_BASEPTR, process->kernel_l4);
	base(MMUEXT_NEW_USER_BASEPTR, process->user_l4);
	gate(bench_fault_user_entry);
	trap_callback(CALLBACKTYPE_syscall, bench_syscall_entry);
}

/* By sysret, as kernels return from a system call; and by iret, as from a fault. */
static void user_syscall(void)
{
	bench_user(CODE, VGCF_in_syscall);
}

static void user_fault(void)
{
	bench_user(CODE_FAULT, 0);
}

static void user_end(void)
{
	trap_init();
	base(MMUEXT_NEW_BASEPTR, kernel_l4);
	events_unmask();
	proc_destroy(process);
}

static void cpuid(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile(XEN_CPUID : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
}

const struct bench bench_traps[] = {
	{.name = "#PF in the kernel, handled there, iret",
	 .start = fault_start,
	 .op = fault,
	 .end = fault_end},
	{.name = "system call from user mode and return",
	 .start = user_start,
	 .op = user_syscall,
	 .end = user_end},
	{.name = "#PF in user mode, to the kernel, iret",
	 .start = user_start,
	 .op = user_fault,
	 .end = user_end},
	{.name = "emulated cpuid", .op = cpuid},
	{0},
};
