/* SPDX-License-Identifier: MIT */
/*
 * The way in and out of a guest. A trap or SYSCALL from a guest builds struct cpu_user_regs at the
 * top of the pCPU's stack (struct cpu_info) and calls C with interrupts off; C returns how to leave:
 * by IRET (0) or by SYSRET (1), and whether the registers that C functions preserve still are the
 * guest's (add 2). A trap inside the hypervisor nests on the same stack.
 */
#include <arch/layout.h>

/* struct cpu_user_regs; checked against the header in traps.c. */
#define LEAVE_KEPT 2 /* enum leave of traps.c */
#define TRAP_SYSCALL 0x100
#define HC_NR 64
#define HC_CONTINUE 0x4000
#define ENOSYS 38
#define R_VEC 124
#define R_RIP 128
#define R_CS 136

/* cpu_info: 216 bytes; regs.ss ends at 168. */
#define RSP0_FROM_TOP 48

	.macro SAVE_GPRS
	push %rdi
	push %rsi
	push %rdx
	push %rcx
	push %rax
	push %r8
	push %r9
	push %r10
	push %r11
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	.endm

	.macro RESTORE_GPRS
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rax
	pop %rcx
	pop %rdx
	pop %rsi
	pop %rdi
	.endm

/* What x86_syscall and the C functions it calls have changed, but for rax, rcx and r11. */
	.macro RESTORE_CHANGED
	mov 32(%rsp), %r12
	mov 24(%rsp), %r13
	mov 40(%rsp), %rbp
	mov 48(%rsp), %rbx
	mov 64(%rsp), %r10
	mov 72(%rsp), %r9
	mov 80(%rsp), %r8
	mov 104(%rsp), %rdx
	mov 112(%rsp), %rsi
	mov 120(%rsp), %rdi
	.endm

	.text

/* The per-pCPU stub has switched stacks and pushed ss, rsp, rflags, cs, rip and the trap word. */
	.globl syscall_common, x86_syscall
syscall_common:
	SAVE_GPRS
/*
 * Hypercalls, the most frequent way in: here in assembly, since their arguments still are where the
 * callee wants them. The offsets are absolute symbols that traps.c defines.
 * rbx: pCPU, r12: vCPU, r13: number.
 */
x86_syscall:
	mov CPU_INFO_PCPU(%rsp), %rbx
	xor %ebp, %ebp
	mov PCPU_CURRENT(%rbx), %r12
	/* Online, which is a full fence: what qsbr_online() does. PAIRS: qsbr_fence */
	lock incq PCPU_QSBR(%rbx)
	sub $8, %rsp
	cmpb $0, VCPU_KERNEL_MODE(%r12)
	je user_syscall
	mov %eax, %r13d
	incq VCPU_HYPERCALLS(%r12)
	mov $-ENOSYS, %rax
	cmp $HC_NR, %r13d
	jae hypercall_done
	lea hypercall_fns(%rip), %r11
	mov (%r11, %r13, 8), %r11
	test %r11, %r11
	jz hypercall_done
	mov %r10, %rcx
	call *%r11
	cmp $-HC_CONTINUE, %rax
	je hypercall_again
hypercall_done:
	mov %rax, 88(%rsp)
	/* As leave_to_guest() in traps.c, which also does what is rare. */
	cmpl $0, PCPU_WORK(%rbx)
	jne leave_slow
	cmpw $0, VCPU_EVENTS_RARE(%r12)
	jne leave_slow
	mov VCPU_INFO(%r12), %rcx
	test %rcx, %rcx
	jz leave_slow
	movzwl (%rcx), %ecx		/* evtchn_upcall_pending, evtchn_upcall_mask */
	test %cl, %cl
	jz 1f
	test %ch, %ch
	jz leave_slow
	/* Offline: a store is a release. PAIRS: qsbr_quiesce */
1:	incq PCPU_QSBR(%rbx)
	testb $TRAP_SYSCALL >> 8, 8 + R_VEC + 1(%rsp)
	jz leave_by_iret
	mov 8 + R_RIP(%rsp), %rcx
	mov %rcx, %r11			/* canonical? */
	shl $16, %r11
	sar $16, %r11
	cmp %rcx, %r11
	jne leave_by_iret
leave_by_sysret:
	RESTORE_CHANGED
	mov 136(%rsp), %rcx
	mov 152(%rsp), %r11
	mov 160(%rsp), %rsp
	sysretq

hypercall_again:
	lea 8(%rsp), %rdi
	mov %r13, %rsi
	mov %rax, %rdx
	call x86_hypercall_again
	jmp leave_kept
user_syscall:
	lea 8(%rsp), %rdi
	call x86_user_syscall
	jmp leave_kept
leave_slow:
	lea 8(%rsp), %rdi
	call x86_leave
leave_kept:
	sub $LEAVE_KEPT, %al
	jb leave_full
	test %al, %al
	mov 88(%rsp), %rax
	jnz leave_by_sysret
leave_by_iret:
	RESTORE_CHANGED
	mov 56(%rsp), %r11
	mov 96(%rsp), %rcx
	add $136, %rsp
	jmp iret_guest
leave_full:
	add $LEAVE_KEPT, %al
restore_guest:
	add $8, %rsp
	test %al, %al
	jz 1f
	RESTORE_GPRS
	mov 8(%rsp), %rcx
	mov 24(%rsp), %r11
	mov 32(%rsp), %rsp
	sysretq
1:	RESTORE_GPRS
	add $8, %rsp
	.globl iret_guest
iret_guest:
	iretq

	.globl syscall32_common
syscall32_common:
	SAVE_GPRS
	mov %rsp, %rdi
	xor %ebp, %ebp
	sub $8, %rsp
	call x86_syscall32
	jmp restore_guest

trap_common:
	cld
	SAVE_GPRS
	mov %rsp, %rdi
	testb $3, R_CS(%rsp)
	jz 2f
	xor %ebp, %ebp
	sub $8, %rsp
	call x86_guest_trap
	jmp restore_guest
2:	sub $8, %rsp
	call x86_hyp_trap
	add $8, %rsp
	RESTORE_GPRS
	add $8, %rsp
	iretq

/*
 * #DB, NMI and #MC have stacks of their own, since they can come right after SYSCALL, with the
 * guest's rsp in ring 0. From a guest they go on where every other trap does: on the way back the
 * guest's registers are looked for there, and another vCPU may be switched to.
 */
own_stack_entry:
	testb $3, 16(%rsp)
	jz trap_common
	push %rax
	mov %rsp, %rax
	or $(STACK_SIZE - 1), %rsp
	sub $(RSP0_FROM_TOP - 1), %rsp
	push 48(%rax)
	push 40(%rax)
	push 32(%rax)
	push 24(%rax)
	push 16(%rax)
	push 8(%rax)
	mov (%rax), %rax
	jmp trap_common

/*
 * First entry of a pCPU into its scheduling loop, and of a guest after the idle loop: rdi = regs.
 * The stack below cpu_info is dropped.
 */
	.globl x86_enter_guest
x86_enter_guest:
	lea -8(%rdi), %rsp
	mov %esi, %eax
	jmp restore_guest

/* x86_on_stack(rsp, fn): leave the boot stack for good. */
	.globl x86_on_stack
x86_on_stack:
	mov %rdi, %rsp
	xor %ebp, %ebp
	call *%rsi
	ud2

/* 256 entry points of 16 bytes each. */
	.globl trap_stubs
	.align 16
trap_stubs:
	.set vec, 0
	.rept 256
	.align 16
	.if (vec == 8) || ((vec >= 10) && (vec <= 14)) || (vec == 17) || (vec == 21)
	.else
	push $0
	.endif
	movl $vec, 4(%rsp)
	.if (vec == 1) || (vec == 2) || (vec == 18)
	jmp own_stack_entry
	.else
	jmp trap_common
	.endif
	.set vec, vec + 1
	.endr

/*
 * Template of the per-pCPU syscall stub: its data page follows the page it is copied to
 * (+4096: scratch rsp, +4104: stack, +4112: target).
 */
	.globl syscall_stub, syscall_stub_end
	.align 64
syscall_stub:
	mov %rsp, 4096+syscall_stub(%rip)
	mov 4104+syscall_stub(%rip), %rsp
	push $0xe02b
	push 4096+syscall_stub(%rip)
	push %r11
	push $0xe033
	push %rcx
	push $0
	movl $0x100, 4(%rsp)
	jmp *4112+syscall_stub(%rip)
syscall_stub_end:

/* SYSCALL of a 32-bit process. */
	.globl syscall32_stub, syscall32_stub_end
	.align 64
syscall32_stub:
	mov %rsp, (4096-128)+syscall32_stub(%rip)
	mov (4104-128)+syscall32_stub(%rip), %rsp
	push $0xe02b
	push (4096-128)+syscall32_stub(%rip)
	push %r11
	push $0xe023
	push %rcx
	push $0
	movl $0x100, 4(%rsp)
	jmp *(4120-128)+syscall32_stub(%rip)
syscall32_stub_end:

	.section .note.GNU-stack, "", @progbits
