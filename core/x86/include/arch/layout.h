/* SPDX-License-Identifier: MIT */
/* The hypervisor's part of every address space: L4 slots 256..271. */
#ifndef ARCH_LAYOUT_H
#define ARCH_LAYOUT_H

#define HYP_L4_FIRST 256
#define HYP_L4_COUNT 16

#define M2P_VIRT 0xffff800000000000UL /* slot 256: guest-readable identity table */

#define IMAGE_VIRT 0xffff82d040000000UL /* slot 261 */
#define IMAGE_PHYS 0x200000UL

/* Slot 261, above the image: 1 GiB windows, each within reach of a rel32 from the text. */
#define STACKS_VIRT 0xffff82d080000000UL /* 64 KiB per pCPU: guard, then 32 KiB of stack */
#define STACK_STRIDE 0x10000UL
#define STACK_SIZE 0x8000UL
#define STUBS_VIRT 0xffff82d084000000UL /* 2 pages per pCPU: syscall stub, its data */
#define GDTS_VIRT 0xffff82d088000000UL	/* 16 pages per pCPU */
#define LDTS_VIRT 0xffff82d08c000000UL	/* 16 pages per pCPU */
#define DT_STRIDE 0x10000UL
#define MMIO_VIRT 0xffff82d090000000UL
#define MMIO_SIZE 0x2000000UL
#define WINDOWS_END 0xffff82d092000000UL

#define DIRECTMAP_VIRT 0xffff830000000000UL /* slots 262..271 */
#define DIRECTMAP_SIZE (10UL << 39)

/* What a guest may use: canonical and outside the hypervisor's slots. */
#define GUEST_LOW_END 0x0000800000000000UL
#define HYP_VIRT_START 0xffff800000000000UL
#define HYP_VIRT_END 0xffff880000000000UL

#endif
