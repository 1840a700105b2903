/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 1 entry, 32-bit protected mode, paging off. Builds the first page tables (identity and
 * direct map of the first 4 GiB, the image at its link address), enters long mode and jumps to
 * the 64-bit image, which replaces these tables.
 */
#define MB_MAGIC 0x1BADB002
#define MB_FLAGS 0x00000003 /* page-aligned modules, memory map */

#define PTE_P 0x001
#define PTE_RW 0x002
#define PTE_PSE 0x080

	.section .multiboot, "a"
	.align 4
	.long MB_MAGIC
	.long MB_FLAGS
	.long -(MB_MAGIC + MB_FLAGS)

	.text
	.code32
	.globl boot32_start
boot32_start:
	cli
	cld
	mov %eax, %ebp		/* Multiboot magic */
	mov %ebx, %esi		/* Multiboot info */
	mov $boot_stack_end, %esp

	/* CPUID.80000001H:EDX.LM, else say so on COM1. */
	mov $0x80000000, %eax
	cpuid
	cmp $0x80000001, %eax
	jb no_long_mode
	mov $0x80000001, %eax
	cpuid
	bt $29, %edx
	jnc no_long_mode

	/* Four L2 tables of 2 MiB pages: physical 0 to 4 GiB. */
	mov $boot_l2, %edi
	mov $(PTE_P | PTE_RW | PTE_PSE), %eax
	mov $2048, %ecx
1:	mov %eax, (%edi)
	movl $0, 4(%edi)
	add $0x200000, %eax
	add $8, %edi
	dec %ecx
	jnz 1b

	mov $boot_l3, %edi
	mov $(boot_l2 + (PTE_P | PTE_RW)), %eax
	mov $4, %ecx
2:	mov %eax, (%edi)
	add $0x1000, %eax
	add $8, %edi
	dec %ecx
	jnz 2b

	/* Image: 0xffff82d040000000 is L4 261, L3 321, L2 0; 8 MiB from physical 2 MiB. */
	mov $boot_l2_image, %edi
	mov $(0x200000 + (PTE_P | PTE_RW | PTE_PSE)), %eax
	mov $4, %ecx
3:	mov %eax, (%edi)
	add $0x200000, %eax
	add $8, %edi
	dec %ecx
	jnz 3b
	movl $(boot_l2_image + (PTE_P | PTE_RW)), boot_l3_image + 321 * 8
	movl $(boot_l3 + (PTE_P | PTE_RW)), boot_l4
	movl $(boot_l3_image + (PTE_P | PTE_RW)), boot_l4 + 261 * 8
	movl $(boot_l3 + (PTE_P | PTE_RW)), boot_l4 + 262 * 8

	mov $boot_l4, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x20, %eax		/* PAE */
	mov %eax, %cr4
	mov $0xC0000080, %ecx
	rdmsr
	or $0x901, %eax		/* NXE, LME, SCE */
	wrmsr
	mov %cr0, %eax
	or $0x80010001, %eax	/* PG, WP, PE */
	mov %eax, %cr0
	lgdt boot_gdtr
	ljmp $8, $boot64

	.code64
boot64:
	xor %eax, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	mov %ebp, %edi		/* arg 0: Multiboot magic */
	mov %esi, %esi		/* arg 1: Multiboot info, physical */
	movabs $0xffff82d040000000, %rax
	jmp *%rax

	.code32
no_long_mode:
	mov $no_lm_text, %esi
4:	mov $0x3f8, %dx
	lodsb
	test %al, %al
	jz 5f
	out %al, %dx
	jmp 4b
5:	hlt
	jmp 5b

	.section .rodata
no_lm_text:
	.asciz "xylem: this CPU has no long mode (64-bit); cannot run\n"
	.align 8
boot_gdt:
	.quad 0
	.quad 0x00af9a000000ffff
boot_gdtr:
	.word 15
	.long boot_gdt

	.bss
	.align 4096
boot_l4:	.skip 4096
boot_l3:	.skip 4096
boot_l3_image:	.skip 4096
boot_l2_image:	.skip 4096
boot_l2:	.skip 4 * 4096
boot_stack:	.skip 1024
boot_stack_end:

	.section .image, "a"
	.globl boot32_image
boot32_image:
	.incbin XYLEM_BIN
	.section .note.GNU-stack, "", @progbits
