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

#define INSN(name, text)                                                                           \
	static void do_##name(void *arg)                                                           \
	{                                                                                          \
		__asm__ volatile(text ::"D"(arg) : "rax", "rbx", "rcx", "rdx", "rsi", "memory");   \
	}

INSN(hlt, "hlt") INSN(cli, "cli") INSN(sti, "sti") INSN(clts, "clts") INSN(invd, "invd")
INSN(wbinvd, "wbinvd") INSN(swapgs, "swapgs") INSN(sysret, "sysretq") INSN(sysexit, "sysexit")
INSN(sysenter, "sysenter") INSN(rsm, "rsm") INSN(icebp, ".byte 0xf1") INSN(clac, "clac")
INSN(stac, "stac") INSN(monitor, "movq %%rsp, %%rax; xorl %%ecx, %%ecx; xorl %%edx, %%edx; monitor")
INSN(mwait, "xorl %%eax, %%eax; xorl %%ecx, %%ecx; mwait") INSN(vmcall, "vmcall")
INSN(vmmcall, "vmmcall") INSN(vmlaunch, "vmlaunch") INSN(vmrun, "movq %%rsp, %%rax; vmrun")
INSN(vmxon, "vmxon (%%rsp)") INSN(skinit, "skinit") INSN(stgi, "stgi") INSN(clgi, "clgi")
INSN(invlpga, "xorl %%ecx, %%ecx; invlpga") INSN(getsec, "xorl %%eax, %%eax; getsec")
INSN(lgdt, "lgdt (%%rdi)") INSN(lidt, "lidt (%%rdi)") INSN(lldt, "movl $0x28, %%eax; lldt %%ax")
INSN(ltr, "movl $0x40, %%eax; ltr %%ax") INSN(sgdt, "sgdt (%%rdi)") INSN(sidt, "sidt (%%rdi)")
INSN(smsw, "smsw %%eax") INSN(lmsw, "xorl %%eax, %%eax; lmsw %%ax")
INSN(invlpg, "invlpg (%%rdi)") INSN(invpcid, "xorl %%eax, %%eax; invpcid (%%rdi), %%rax")
INSN(rdpmc, "xorl %%ecx, %%ecx; rdpmc") INSN(rdtscp, "rdtscp") INSN(rdpkru, "xorl %%ecx, %%ecx; rdpkru")
INSN(xsetbv0, "xorl %%ecx, %%ecx; xorl %%eax, %%eax; xorl %%edx, %%edx; xsetbv")
INSN(xsetbv1, "xorl %%ecx, %%ecx; movl $-1, %%eax; movl $-1, %%edx; xsetbv")
INSN(xsetbv9, "movl $9, %%ecx; xorl %%eax, %%eax; xorl %%edx, %%edx; xsetbv")
INSN(rd_cr0, "movq %%cr0, %%rax") INSN(rd_cr2, "movq %%cr2, %%rax")
INSN(rd_cr3, "movq %%cr3, %%rax") INSN(rd_cr4, "movq %%cr4, %%rax")
INSN(rd_cr8, "movq %%cr8, %%rax") INSN(wr_cr0, "xorl %%eax, %%eax; movq %%rax, %%cr0")
INSN(wr_cr0_all, "movq $-1, %%rax; movq %%rax, %%cr0")
INSN(wr_cr3, "movq $0xfffffff000, %%rax; movq %%rax, %%cr3")
INSN(wr_cr4, "movq $-1, %%rax; movq %%rax, %%cr4") INSN(wr_cr8, "movl $15, %%eax; movq %%rax, %%cr8")
INSN(rd_dr0, "movq %%dr0, %%rax") INSN(rd_dr6, "movq %%dr6, %%rax") INSN(rd_dr7, "movq %%dr7, %%rax")
INSN(wr_dr0, "movq $0xffff830000000000, %%rax; movq %%rax, %%dr0")
INSN(wr_dr7, "movl $0x2000, %%eax; movq %%rax, %%dr7")
INSN(inb, "inb $0x60, %%al") INSN(outb, "movb $0, %%al; outb %%al, $0x80")
INSN(insb, "movl $0x60, %%edx; insb") INSN(outsb, "movl $0x80, %%edx; movq %%rdi, %%rsi; outsb")
INSN(rep_insb, "movl $0x60, %%edx; movl $16, %%ecx; rep insb")
INSN(popf_iopl, "pushfq; orq $0x3000, (%%rsp); popfq")
INSN(popf_nt, "pushfq; orq $0x4000, (%%rsp); popfq; pushfq; andq $~0x4000, (%%rsp); popfq")
INSN(popf_tf, "pushfq; orq $0x100, (%%rsp); popfq; nop")
INSN(popf_ac, "pushfq; orq $0x40000, (%%rsp); popfq; pushfq; andq $~0x40000, (%%rsp); popfq")
INSN(iret_ring0, "movq %%rsp, %%rax; pushq $0; pushq %%rax; pushfq; pushq $0xe008; leaq 1f(%%rip), %%rcx; pushq %%rcx; iretq; 1: ud2")
INSN(iret_null, "pushq $0; pushq $0; pushq $0; pushq $0; pushq $0; iretq")
INSN(lret_ring0, "pushq $0xe008; leaq 1f(%%rip), %%rcx; pushq %%rcx; lretq; 1: ud2")
INSN(mov_ss0, "xorl %%eax, %%eax; movw %%ax, %%ss") INSN(mov_ss_hv, "movl $0xe010, %%eax; movw %%ax, %%ss")
INSN(mov_ds_hv, "movl $0xe010, %%eax; movw %%ax, %%ds") INSN(mov_fs_tss, "movl $0xe040, %%eax; movw %%ax, %%fs")
INSN(mov_es_far, "movl $0xfff8, %%eax; movw %%ax, %%es") INSN(mov_fs_ldt, "movl $7, %%eax; movw %%ax, %%fs")
INSN(forced_cpuid, ".byte 0x0f,0x0b,0x78,0x65,0x6e; cpuid") INSN(forced_bad, ".byte 0x0f,0x0b,0x78,0x65,0x6e; hlt")
INSN(noncanon_jmp, "movabsq $0x8000000000000000, %%rax; jmp *%%rax")
INSN(noncanon_stack, "movabsq $0x8000000000000000, %%rax; pushq (%%rax)")
INSN(jump_hv, "movabsq $0xffff82d040200000, %%rax; jmp *%%rax")
INSN(long_lock, "lock; lock; lock; lock; lock; lock; lock; lock; lock; lock; lock; lock; lock; lock; lock; nop")
INSN(ud0, ".byte 0x0f,0xff,0xc0") INSN(lock_nop, ".byte 0xf0,0x90")

#define E(name) {#name, do_##name}
static const struct {
	const char *name;
	void (*run)(void *);
} insns[] = {
	E(hlt), E(cli), E(sti), E(clts), E(invd), E(wbinvd), E(swapgs), E(sysret), E(sysexit),
	E(sysenter), E(rsm), E(icebp), E(clac), E(stac), E(monitor), E(mwait), E(vmcall),
	E(vmmcall), E(vmlaunch), E(vmrun), E(vmxon), E(skinit), E(stgi), E(clgi), E(invlpga),
	E(getsec), E(lgdt), E(lidt), E(lldt), E(ltr), E(sgdt), E(sidt), E(smsw), E(lmsw),
	E(invlpg), E(invpcid), E(rdpmc), E(rdtscp), E(rdpkru), E(xsetbv0), E(xsetbv1), E(xsetbv9),
	E(rd_cr0), E(rd_cr2), E(rd_cr3), E(rd_cr4), E(rd_cr8), E(wr_cr0), E(wr_cr0_all), E(wr_cr3),
	E(wr_cr4), E(wr_cr8), E(rd_dr0), E(rd_dr6), E(rd_dr7), E(wr_dr0), E(wr_dr7), E(inb),
	E(outb), E(insb), E(outsb), E(rep_insb), E(popf_iopl), E(popf_nt), E(popf_tf), E(popf_ac),
	E(iret_ring0), E(iret_null), E(lret_ring0), E(mov_ss0), E(mov_ss_hv), E(mov_ds_hv),
	E(mov_fs_tss), E(mov_es_far), E(mov_fs_ldt), E(forced_cpuid), E(forced_bad),
	E(noncanon_jmp), E(noncanon_stack), E(jump_hv), E(long_lock), E(ud0), E(lock_nop),
};

static const uint32_t msrs[] = {
	0x10, 0x1b, 0x3a, 0x48, 0x49, 0x8b, 0xc1, 0xe7, 0xfe, 0x174, 0x175, 0x176, 0x179, 0x186,
	0x1a0, 0x1d9, 0x200, 0x277, 0x2ff, 0x38f, 0x400, 0x480, 0x6e0, 0x802, 0x830, 0xda0,
	0x40000000, 0x40000001, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
	0xc0000103, 0xc0010010, 0xc0010015, 0xc0010114, 0xc0010117, 0xdeadbeef,
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
		__asm__ volatile("movw %w0, %%ss; movw %w1, %%ds; movw %w1, %%es" ::"r"(
					 FLAT_KERNEL_SS),
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
