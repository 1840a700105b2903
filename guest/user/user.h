/* SPDX-License-Identifier: MIT */
/* What user programs do, and the system calls they make. Shared with the kernel side. */
#ifndef MINI_USER_H
#define MINI_USER_H

#include <stdint.h>

enum user_test {
	USER_ECHO,   /* report data[0], then what the last call returned, for ever */
	USER_READ,   /* read *arg, report it */
	USER_WRITE,  /* write 0x55 to *arg, report */
	USER_JUMP,   /* jump to arg */
	USER_INSN,   /* execute instruction number arg, report */
	USER_FP,     /* hold a pattern made of arg in the FP registers over yields */
	USER_SEG,    /* report %fs:0 and %gs:0 */
	USER_CPUID,  /* report CPUID leaf arg, ebx and ecx:edx, then two TSC reads */
	USER_SPIN,   /* count until data[1] is not 0, report the count */
	USER_REGS,   /* check registers over a system call */
	USER_STEP,   /* set TF and run on */
	USER_CALL32, /* go to 32-bit code and make a system call there, ebx = 0x32 */
};

/* roles/proc.c knows which trap each has to end in. */
enum user_insn {
	INSN_UD2,
	INSN_DIV0,
	INSN_INT3,
	INSN_INT80,
	INSN_INT90,
	INSN_INT14,
	INSN_HLT,
	INSN_CLI,
	INSN_STI,
	INSN_IN,
	INSN_OUT,
	INSN_RDMSR,
	INSN_WRMSR,
	INSN_MOV_TO_CR3,
	INSN_MOV_FROM_CR0,
	INSN_LGDT,
	INSN_LIDT,
	INSN_LLDT,
	INSN_LTR,
	INSN_CLTS,
	INSN_INVLPG,
	INSN_WBINVD,
	INSN_MOV_TO_DR7,
	INSN_SWAPGS,
	INSN_SYSRET,
	INSN_XSETBV,
	INSN_RDPMC,
	INSN_NONCANON,
	NR_INSNS
};

/* System calls: number in rax, arguments in rdi and rsi; the result is in rax. */
enum { SYS_REPORT = 1, SYS_YIELD = 2, SYS_REGS = 3 };

#endif
