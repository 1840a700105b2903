/* SPDX-License-Identifier: MIT */
/*
 * The marks of mark.h. A mark has its number in its own bytes, so there is one instruction per
 * number, and a function jumps to the one it wants: nopl (7 bytes) and ret (1).
 */
#define OPS 256

	.macro MARKS name, kind
	.globl \name
\name:
	movl	%edi, %edi
	andl	$(OPS - 1), %edi
	leaq	\name\()_table(,%rdi,8), %rax
	jmp	*%rax
	.balign 8
\name\()_table:
	.set	number, 0
	.rept	OPS
	.byte	0x0f, 0x1f, 0x80
	.long	0x584d0000 | (\kind << 12) | number
	ret
	.set	number, number + 1
	.endr
	.endm

	.text
	MARKS	mark_open, 0
	MARKS	mark_close, 1
	MARKS	mark_record, 3

	.globl mark_forget
mark_forget:
	.byte	0x0f, 0x1f, 0x80
	.long	0x584d2000
	ret

	.section .note.GNU-stack, "", @progbits
