/* SPDX-License-Identifier: MIT */
/* x86 constants used in more than one place. */
#ifndef ARCH_X86_H
#define ARCH_X86_H

#define X86_PTE_P 0x001UL
#define X86_PTE_RW 0x002UL
#define X86_PTE_US 0x004UL
#define X86_PTE_PWT 0x008UL
#define X86_PTE_PCD 0x010UL
#define X86_PTE_A 0x020UL
#define X86_PTE_D 0x040UL
#define X86_PTE_PSE 0x080UL
#define X86_PTE_G 0x100UL
#define X86_PTE_NX (1UL << 63)
#define X86_PTE_ADDR 0x000ffffffffff000UL

#define X86_FLAGS_CF 0x00001UL
#define X86_FLAGS_FIXED 0x00002UL
#define X86_FLAGS_TF 0x00100UL
#define X86_FLAGS_IF 0x00200UL
#define X86_FLAGS_DF 0x00400UL
#define X86_FLAGS_IOPL 0x03000UL
#define X86_FLAGS_NT 0x04000UL
#define X86_FLAGS_RF 0x10000UL
#define X86_FLAGS_VM 0x20000UL
#define X86_FLAGS_AC 0x40000UL
#define X86_FLAGS_VIF 0x80000UL
#define X86_FLAGS_VIP 0x100000UL
#define X86_FLAGS_ID 0x200000UL

#define X86_CR0_PE 0x1UL
#define X86_CR0_MP 0x2UL
#define X86_CR0_TS 0x8UL
#define X86_CR0_ET 0x10UL
#define X86_CR0_NE 0x20UL
#define X86_CR0_WP 0x10000UL
#define X86_CR0_AM 0x40000UL
#define X86_CR0_PG 0x80000000UL

#define X86_CR4_DE 0x8UL
#define X86_CR4_PAE 0x20UL
#define X86_CR4_MCE 0x40UL
#define X86_CR4_PGE 0x80UL
#define X86_CR4_OSFXSR 0x200UL
#define X86_CR4_OSXMMEXCPT 0x400UL
#define X86_CR4_FSGSBASE 0x10000UL
#define X86_CR4_OSXSAVE 0x40000UL

#define DR6_BS 0x4000UL
#define DR6_CAUSES 0xe00fUL

#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_SYSENTER_CS 0x174
#define MSR_PAT 0x277
#define EFER_SCE 0x001
#define EFER_LME 0x100
#define EFER_LMA 0x400
#define EFER_NXE 0x800

#define VEC_DE 0
#define VEC_DB 1
#define VEC_NMI 2
#define VEC_BP 3
#define VEC_OF 4
#define VEC_BR 5
#define VEC_UD 6
#define VEC_NM 7
#define VEC_DF 8
#define VEC_TS 10
#define VEC_NP 11
#define VEC_SS 12
#define VEC_GP 13
#define VEC_PF 14
#define VEC_MF 16
#define VEC_AC 17
#define VEC_MC 18
#define VEC_XM 19

#define PFEC_P 1u
#define PFEC_W 2u
#define PFEC_U 4u
#define PFEC_RSVD 8u
#define PFEC_I 16u

#define VEC_KICK 0xf0
#define VEC_TIMER 0xf1
#define VEC_SPURIOUS 0xff

/* Selectors of the hypervisor's GDT page; the guest-visible ones are Xen's FLAT_RING3_*. */
#define HYP_CS 0xe008
#define HYP_SS 0xe010
#define HYP_TSS 0xe040
#define HYP_LDT 0xe050

#endif
