/* SPDX-License-Identifier: MIT */
/* First 64-bit code: a boot stack, then C. edi = Multiboot magic, rsi = info (physical). */
	.section .head, "ax"
	.globl xylem_entry
xylem_entry:
	lea boot_stack64_end(%rip), %rsp
	xor %ebp, %ebp
	call x86_start
1:	hlt
	jmp 1b

	.bss
	/* Aligned like every pCPU stack, since this_pcpu() masks rsp. */
	.align 32768
	.globl boot_stack64
boot_stack64:
	.skip 32768
boot_stack64_end:
	.section .note.GNU-stack, "", @progbits
