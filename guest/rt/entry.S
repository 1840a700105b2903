/* SPDX-License-Identifier: MIT */
/*
 * Entry points: start of day, hypercalls, traps, events, and the way to and
 * from user mode. Frames follow xen/arch-x86/xen-x86_64.h: every trap or
 * callback arrives with rcx and r11 on top of the usual frame.
 */
#define __ASSEMBLY__
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#include <xen/xen.h>
#include <xen/elfnote.h>
#include <xen/features.h>

	.macro ELFNOTE type, kind, value:vararg
	.pushsection .note.Xen, "a", @note
	.balign 4
	.long 2f - 1f, 4f - 3f, \type
1:	.asciz "Xen"
2:	.balign 4
3:	\kind \value
4:	.balign 4
	.popsection
	.endm

	ELFNOTE XEN_ELFNOTE_GUEST_OS, .asciz, "xylem-mini"
	ELFNOTE XEN_ELFNOTE_GUEST_VERSION, .asciz, "1"
	ELFNOTE XEN_ELFNOTE_XEN_VERSION, .asciz, "xen-3.0"
	ELFNOTE XEN_ELFNOTE_LOADER, .asciz, "generic"
	ELFNOTE XEN_ELFNOTE_FEATURES, .asciz, "!writable_page_tables|pae_pgdir_above_4gb"
	ELFNOTE XEN_ELFNOTE_SUPPORTED_FEATURES, .long, \
		(1 << XENFEAT_pae_pgdir_above_4gb) | (1 << XENFEAT_dom0)
	ELFNOTE XEN_ELFNOTE_VIRT_BASE, .quad, 0xffffffff80000000
	ELFNOTE XEN_ELFNOTE_PADDR_OFFSET, .quad, 0
	ELFNOTE XEN_ELFNOTE_ENTRY, .quad, _start
	ELFNOTE XEN_ELFNOTE_HYPERCALL_PAGE, .quad, hypercall_page

	.section .text.head, "ax"
	.globl _start
_start:
	cld
	leaq	boot_stack_end(%rip), %rsp
	xorl	%ebp, %ebp
	movq	%rsi, %rdi
	call	start_of_day
	ud2

	.text
	/* Secondary vCPUs: rdi = struct cpu *, rsp set by VCPUOP_initialise. */
	.globl ap_start
ap_start:
	cld
	xorl	%ebp, %ebp
	call	ap_main
	ud2

	/* long hypercall(nr, a1, a2, a3, a4, a5) */
	.globl hypercall
hypercall:
	movl	%edi, %eax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	cmpb	$0, hypercall_inline(%rip)
	jne	1f
	cmpl	$64, %eax
	jae	1f			/* the page has stubs for the usual numbers only */
	cmpl	$__HYPERVISOR_iret, %eax
	je	1f
	shll	$5, %eax
	addq	$hypercall_page, %rax
	jmp	*%rax
1:	pushq	%rcx
	pushq	%r11
	syscall
	popq	%r11
	popq	%rcx
	ret

	.macro SAVE_REGS
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	.endm

	.macro TRAP vec, has_err
	.globl trap_\vec
trap_\vec:
	popq	%rcx
	popq	%r11
	.if \has_err == 0
	pushq	$0
	.endif
	pushq	$\vec
	jmp	trap_common
	.endm

	TRAP 0, 0
	TRAP 1, 0
	TRAP 2, 0
	TRAP 3, 0
	TRAP 4, 0
	TRAP 5, 0
	TRAP 6, 0
	TRAP 7, 0
	TRAP 8, 1
	TRAP 10, 1
	TRAP 11, 1
	TRAP 12, 1
	TRAP 13, 1
	TRAP 14, 1
	TRAP 16, 0
	TRAP 17, 1
	TRAP 18, 0
	TRAP 19, 0
	TRAP 128, 0

trap_common:
	cld
	SAVE_REGS
	movq	%rsp, %rdi
	call	trap_handler
	/* Fall through: resume what was interrupted. */

	/* rsp -> struct regs */
	.globl resume_regs
resume_regs:
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	addq	$8, %rsp		/* vec; err becomes the iret flags word */
	movq	$0, (%rsp)
	cmpb	$0, hypercall_inline(%rip)
	jne	1f
	jmp	hypercall_page + __HYPERVISOR_iret * 32
1:	pushq	%rcx
	pushq	%r11
	pushq	%rax
	movl	$__HYPERVISOR_iret, %eax
	syscall
	ud2

	.globl event_callback
event_callback:
	popq	%rcx
	popq	%r11
	pushq	$0
	pushq	$0x101
	cld
	SAVE_REGS
	movq	%rsp, %rdi
	call	event_handler
	jmp	resume_regs

	/* Failsafe frame: rcx, r11, ds, es, fs, gs, then the iret frame. */
	.globl failsafe_callback
failsafe_callback:
	popq	%rcx
	popq	%r11
	popq	%gs:32
	popq	%gs:40
	popq	%gs:48
	popq	%gs:56
	pushq	$0
	pushq	$0x102
	jmp	trap_common

	.globl syscall_callback
syscall_callback:
	popq	%rcx
	popq	%r11
	pushq	$0
	pushq	$0x100
	jmp	trap_common

	.globl syscall32_callback
syscall32_callback:
	popq	%rcx
	popq	%r11
	pushq	$0
	pushq	$0x103
	jmp	trap_common

	/*
	 * void user_enter(struct regs *r): leave for user mode with these
	 * registers; returns when user_leave() is called for the next trap.
	 */
	.globl user_enter
user_enter:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, %gs:8
	movq	%gs:16, %rsp
	subq	$176, %rsp		/* sizeof(struct regs) */
	movq	%rdi, %rsi
	movq	%rsp, %rdi
	movl	$176, %ecx
	cld
	rep movsb
	jmp	resume_regs

	.globl user_leave
user_leave:
	movq	%gs:8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	/* unsigned long guard_enter(void (*fn)(void *), void *arg) */
	.globl guard_enter
guard_enter:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, %gs:24
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	xorl	%edi, %edi
	/* Fall through: void guard_leave(unsigned long result) */
	.globl guard_leave
guard_leave:
	movq	%gs:24, %rsp
	movq	$0, %gs:24
	movq	%rdi, %rax
	cld
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	.section .hypercall_page, "ax"
	.balign 4096
	.globl hypercall_page
hypercall_page:
	.skip	4096, 0x90

	.bss
	.globl hypercall_inline
hypercall_inline:
	.byte	0
	.balign 4096
	.skip	16384
boot_stack_end:

	.section .note.GNU-stack, "", @progbits
