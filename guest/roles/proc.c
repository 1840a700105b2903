/* SPDX-License-Identifier: MIT */
/*
 * User processes. Each test makes one or two, runs them to the next trap or
 * system call, and looks at what the guest kernel was told.
 */
#include "roles/proc.h"
#include "roles/roles.h"
#include "rt/hypercall.h"
#include "rt/proc.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "user/user.h"

void expect_report(struct proc *p, uint64_t a, const char *what)
{
	unsigned long vec = proc_run(p);

	if (vec != TRAP_SYSCALL)
		role_fail("%s: trap %lu err %lx cr2 %lx rip %lx", what, vec, p->trap.err,
			  p->trap.cr2, p->trap.rip);
	CHECK_EQ(p->regs.rax, SYS_REPORT, what);
	CHECK_EQ(p->regs.rdi, a, what);
	CHECK_EQ(p->regs.cs, FLAT_USER_CS, "user CS");
	CHECK(p->regs.rflags & 0x200, "user IF");
}

static void expect_user_fault(enum user_test test, unsigned long addr, unsigned long err,
			      const char *what)
{
	struct proc *p = proc_create(test, addr);
	unsigned long vec = proc_run(p);

	if (vec != TRAP_PF)
		role_fail("%s: no page fault but %lu, rax %lx rdi %lx", what, vec, p->regs.rax,
			  p->regs.rdi);
	CHECK_EQ(p->trap.cr2, addr, what);
	/* Whether a hypervisor's own page counts as present is its affair. */
	CHECK_EQ(p->trap.err & ~PF_PROT, err & ~PF_PROT, what);
	if (addr < 0x800000000000UL)
		CHECK_EQ(p->trap.err, err, what);
	proc_destroy(p);
}

static void test_protection(void)
{
	struct proc *a = proc_create(USER_ECHO, 0), *b = proc_create(USER_ECHO, 0);
	uint64_t *secret = page_alloc();
	pte_t *l1;

	*(uint64_t *)a->data = 0xaaaa;
	*(uint64_t *)b->data = 0xbbbb;
	for (int i = 0; i < 20; i++) {
		expect_report(a, 0xaaaa, "own page of a");
		expect_report(b, 0xbbbb, "own page of b");
		CHECK_EQ(a->regs.rsi, i ? 0x5a5a : 0, "result of a's system call");
		a->regs.rax = 0x5a5a;
	}
	/* A page only a has: a reads it, b faults, and so does b by every other way. */
	secret[0] = 0x5ec7e7;
	pt_map(a->kernel_l4, 0x700000, MK_PTE(virt_to_mfn(secret), PTE_USER_RO | PTE_NX));
	a->regs.rip = b->regs.rip = USER_TEXT;
	a->regs.rdi = b->regs.rdi = USER_READ;
	a->regs.rsi = b->regs.rsi = 0x700000;
	expect_report(a, 0x5ec7e7, "a's own page");
	CHECK_EQ(proc_run(b), TRAP_PF, "b reads a's page");
	CHECK_EQ(b->trap.err, PF_USER, "error code");
	CHECK_EQ(b->trap.cr2, 0x700000, "CR2");
	/* Taken from a as well: it faults from now on. */
	l1 = pt_entry(a->kernel_l4, 0x700000, 1);
	CHECK_EQ(pt_set(l1, 0), 0, "unmap");
	a->regs.rip = USER_TEXT;
	a->regs.rdi = USER_READ;
	a->regs.rsi = 0x700000;
	CHECK_EQ(proc_run(a), TRAP_PF, "read after unmap, after an address-space switch");
	expect_user_fault(USER_READ, (unsigned long)secret, PF_USER, "read the direct map");
	expect_user_fault(USER_WRITE, (unsigned long)secret, PF_USER | PF_WRITE, "write to it");
	expect_user_fault(USER_READ, (unsigned long)a->data, PF_USER, "read a's data, kernel map");
	proc_destroy(a);
	proc_destroy(b);
	page_free(secret);
	printf("mini: proc protection ok\n");
}

static void test_faults(void)
{
	expect_user_fault(USER_READ, KERNEL_BASE + 0x10000, PF_USER, "read the kernel image");
	expect_user_fault(USER_WRITE, KERNEL_BASE + 0x20000, PF_USER | PF_WRITE, "write to it");
	expect_user_fault(USER_READ, 0xffff820000000000UL, PF_USER, "read the hypervisor");
	expect_user_fault(USER_WRITE, 0xffff820000000000UL, PF_USER | PF_WRITE, "write to it");
	expect_user_fault(USER_READ, 0x10000, PF_USER, "read nothing");
	expect_user_fault(USER_WRITE, USER_TEXT, PF_USER | PF_WRITE | PF_PROT, "write to text");
	expect_user_fault(USER_JUMP, USER_DATA, PF_USER | PF_PROT | PF_INSTR, "execute data");
	expect_user_fault(USER_JUMP, 0x10000, PF_USER | PF_INSTR, "execute nothing");
	expect_user_fault(USER_JUMP, (unsigned long)&hypercall_page, PF_USER | PF_INSTR,
			  "jump to the hypercall page");
	printf("mini: proc faults ok\n");
}

static const struct {
	const char *name;
	unsigned long vec, err;
} insns[NR_INSNS] = {
	[INSN_UD2] = {"ud2", TRAP_UD, 0},
	[INSN_DIV0] = {"div", TRAP_DE, 0},
	[INSN_INT3] = {"int3", TRAP_BP, 0},
	[INSN_INT80] = {"int80", 128, 0},
	[INSN_INT90] = {"int90", TRAP_GP, 0x482},
	[INSN_INT14] = {"int14", TRAP_GP, 0x72},
	[INSN_HLT] = {"hlt", TRAP_GP, 0},
	[INSN_CLI] = {"cli", TRAP_GP, 0},
	[INSN_STI] = {"sti", TRAP_GP, 0},
	[INSN_IN] = {"in", TRAP_GP, 0},
	[INSN_OUT] = {"out", TRAP_GP, 0},
	[INSN_RDMSR] = {"rdmsr", TRAP_GP, 0},
	[INSN_WRMSR] = {"wrmsr", TRAP_GP, 0},
	[INSN_MOV_TO_CR3] = {"mov cr3", TRAP_GP, 0},
	[INSN_MOV_FROM_CR0] = {"cr0", TRAP_GP, 0},
	[INSN_LGDT] = {"lgdt", TRAP_GP, 0},
	[INSN_LIDT] = {"lidt", TRAP_GP, 0},
	[INSN_LLDT] = {"lldt", TRAP_GP, 0},
	[INSN_LTR] = {"ltr", TRAP_GP, 0},
	[INSN_CLTS] = {"clts", TRAP_GP, 0},
	[INSN_INVLPG] = {"invlpg", TRAP_GP, 0},
	[INSN_WBINVD] = {"wbinvd", TRAP_GP, 0},
	[INSN_MOV_TO_DR7] = {"mov dr7", TRAP_GP, 0},
	[INSN_SWAPGS] = {"swapgs", TRAP_GP, 0},
	[INSN_SYSRET] = {"sysret", TRAP_GP, 0},
	[INSN_XSETBV] = {"xsetbv", TRAP_GP, 0},
	[INSN_RDPMC] = {"rdpmc", TRAP_GP, 0},
	[INSN_NONCANON] = {"noncanon", TRAP_GP, 0},
};

static void test_insns(void)
{
	for (unsigned int i = 0; i < NR_INSNS; i++) {
		struct proc *p = proc_create(USER_INSN, i);
		unsigned long vec = proc_run(p);

		/* QEMU's TCG gives 16 * vector + 2 for a software interrupt, CPUs 8 * vector + 2. */
		if (vec == TRAP_UD && i == INSN_XSETBV)
			vec = TRAP_GP; /* this guest has not set CR4.OSXSAVE */
		if (vec != insns[i].vec ||
		    (p->trap.err != insns[i].err && p->trap.err + 2 != insns[i].err * 2))
			role_fail("user %s: trap %lu err %lx", insns[i].name, vec, p->trap.err);
		CHECK(p->regs.rip >= USER_TEXT && p->regs.rip < USER_DATA, "rip %lx", p->regs.rip);
		proc_destroy(p);
	}
	printf("mini: proc instructions ok count=%u\n", NR_INSNS);
}

/* Many rounds on each vCPU at once: processes come and go, values stay apart. */
static void churn(void *arg)
{
	unsigned int id = this_cpu()->id;

	for (unsigned long i = 0; i < (unsigned long)arg; i++) {
		struct proc *a = proc_create(USER_ECHO, 0), *b = proc_create(USER_ECHO, 0);

		*(uint64_t *)a->data = id * 1000 + i;
		*(uint64_t *)b->data = ~(id * 1000 + i);
		for (int k = 0; k < 10; k++) {
			expect_report(a, id * 1000 + i, "a");
			expect_report(b, ~(id * 1000 + i), "b");
		}
		proc_destroy(a);
		proc_destroy(b);
	}
}

void role_proc(void)
{
	unsigned long rounds = arg_num("rounds", 2), left;

	smp_up_all();
	test_protection();
	left = pages_left();
	test_faults();
	test_insns();
	proc_state_tests();
	proc_desc_tests();
	CHECK_EQ(pages_left(), left, "pages left after all processes ended");
	smp_call_all(churn, (void *)rounds);
	CHECK_EQ(pages_left(), left, "pages left after the churn");
	role_pass("vcpus=%u rounds=%lu", nr_cpus, rounds);
}
