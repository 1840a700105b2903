/* SPDX-License-Identifier: MIT */
/*
 * The current guest's memory at its own addresses: plain loads and stores, each with a fixup. What
 * is small and of a known size is copied inline, in words of 8 and 4 bytes.
 */
#ifndef ARCH_UACCESS_H
#define ARCH_UACCESS_H

#include <arch/layout.h>

#include "core/types.h"
#include "core/x86/extable.h"
#include "core/xen_errno.h"

#define UACCESS_INLINE 128 /* bytes */

int copy_from_guest_any(void *dst, uint64_t gva, size_t len);
int copy_to_guest_any(uint64_t gva, const void *src, size_t len);

/* Does an access of UACCESS_INLINE bytes at @gva stay out of the hypervisor's slots? One that
 * passes the end of the address space goes on at 0, which is the guest's as well. */
static inline bool guest_place_ok(uint64_t gva)
{
	return likely(gva >= HYP_VIRT_END) || gva <= GUEST_LOW_END - UACCESS_INLINE;
}

/* One word, of a type of 4 or 8 bytes; on a fault goes on at label @fault. */
#define GUEST_LOAD(val, gva, fault)                         \
	__asm__ goto("1:\tmov %1, %0\n\t" EX_ENTRY_GOTO     \
		     : "=r"(val)                            \
		     : "m"(*(const __typeof__(val) *)(gva)) \
		     :                                      \
		     : fault)
#define GUEST_STORE(val, gva, fault)                            \
	__asm__ goto("1:\tmov %0, %1\n\t" EX_ENTRY_GOTO         \
		     :                                          \
		     : "r"(val), "m"(*(__typeof__(val) *)(gva)) \
		     : "memory"                                 \
		     : fault)

static inline __attribute__((always_inline)) bool uaccess_inline(size_t len)
{
	return __builtin_constant_p(len) && len <= UACCESS_INLINE && len % 4 == 0;
}

/**
 * copy_from_guest()/copy_to_guest() - access the current vCPU's guest-kernel address space.
 * Return 0, or -XEN_EFAULT when the range is not guest memory or not mapped so; A/D and
 * copy-on-write faults are resolved inside. No sleeping. Host build: plain pointers.
 */
static inline __attribute__((always_inline)) int copy_from_guest(void *dst, uint64_t gva,
								 size_t len)
{
	uint64_t word;
	uint32_t half;

	if (!uaccess_inline(len) || unlikely(!guest_place_ok(gva)))
		return copy_from_guest_any(dst, gva, len);
#pragma GCC unroll 16
	for (size_t i = 0; i < len / 8; i++) {
		GUEST_LOAD(word, gva + i * 8, fault);
		__builtin_memcpy((char *)dst + i * 8, &word, 8);
	}
	if (len % 8) {
		GUEST_LOAD(half, gva + len - 4, fault);
		__builtin_memcpy((char *)dst + len - 4, &half, 4);
	}
	return 0;
fault:
	return -XEN_EFAULT;
}

static inline __attribute__((always_inline)) int copy_to_guest(uint64_t gva, const void *src,
							       size_t len)
{
	uint64_t word;
	uint32_t half;

	if (!uaccess_inline(len) || unlikely(!guest_place_ok(gva)))
		return copy_to_guest_any(gva, src, len);
#pragma GCC unroll 16
	for (size_t i = 0; i < len / 8; i++) {
		__builtin_memcpy(&word, (const char *)src + i * 8, 8);
		GUEST_STORE(word, gva + i * 8, fault);
	}
	if (len % 8) {
		__builtin_memcpy(&half, (const char *)src + len - 4, 4);
		GUEST_STORE(half, gva + len - 4, fault);
	}
	return 0;
fault:
	return -XEN_EFAULT;
}

#endif
