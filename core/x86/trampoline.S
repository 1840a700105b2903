/* SPDX-License-Identifier: MIT */
/*
 * Where an AP starts: real mode, CS = page << 8, IP = 0. Straight to long mode, with the
 * hypervisor's own page tables (they map the first 2 MiB to itself), then up into the image,
 * where a ticket makes it a pCPU. smp.c copies [smp_trampoline, smp_trampoline_end) to
 * SMP_TRAMPOLINE_PHYS and fills the words at its end.
 */
#define __ASSEMBLER__ 1
#include "core/x86/smp.h"

#define LOW(label) (SMP_TRAMPOLINE_PHYS + (label) - smp_trampoline)

#define MSR_EFER 0xc0000080
#define TRAMPOLINE_CS64 8

	.section .rodata
	.globl smp_trampoline, smp_trampoline_end
	.globl smp_tramp_cr0, smp_tramp_cr3, smp_tramp_cr4, smp_tramp_efer
	.balign 16
	.code16
smp_trampoline:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl LOW(gdtr)
	movl LOW(smp_tramp_cr4), %eax
	movl %eax, %cr4
	movl LOW(smp_tramp_cr3), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	xorl %edx, %edx
	movl LOW(smp_tramp_efer), %eax
	wrmsr
	movl LOW(smp_tramp_cr0), %eax
	movl %eax, %cr0 /* protected mode and paging at once */
	ljmpl $TRAMPOLINE_CS64, $LOW(long_mode)

	.code64
long_mode:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	movl %eax, %ss
	movabs $smp_ap_arrive, %rax
	jmp *%rax

	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* 64-bit code, ring 0 */
gdtr:
	.word gdtr - gdt - 1
	.long LOW(gdt)
	.balign 8
smp_tramp_cr0:
	.long 0
smp_tramp_cr3:
	.long 0
smp_tramp_cr4:
	.long 0
smp_tramp_efer:
	.long 0
smp_trampoline_end:

	.text
	.globl smp_ap_arrive
smp_ap_arrive:
	/* PAIRS: smp_start - the locked add reads the ticket, and all set up for it, after the SIPI. */
	movl $1, %edi
	lock xaddl %edi, smp_ticket(%rip)
	cmpl smp_limit(%rip), %edi
	jae 1f
	movl %edi, %eax
	lea smp_stack_top(%rip), %rdx
	movq (%rdx,%rax,8), %rsp
	xorl %ebp, %ebp
	call smp_ap_entry
1:	/* Not wanted, or too late. */
	cli
	hlt
	jmp 1b

	.section .note.GNU-stack, "", @progbits
