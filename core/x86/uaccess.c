/* SPDX-License-Identifier: MIT */
/*
 * Guest memory is reached at its own address under the guest's page tables: CR0.WP is set, so
 * write protection (sharing, page tables) holds for the hypervisor too, and a fault goes through
 * mm_fault() like the guest's own before the fixup is taken.
 */
#include "core/x86/uaccess.h"

#include "core/arch.h"
#include "core/x86/extable.h"
#include "core/xen_errno.h"

/* Copy 8 bytes at a time, then single bytes; returns bytes left undone. */
static size_t copy_words(void *dst, const void *src, size_t len)
{
	uint64_t words = len / 8, tmp;

	__asm__ volatile(
		"test %[w], %[w]\n\t"
		"jz 3f\n"
		"1:\tmov (%[s]), %[t]\n"
		"2:\tmov %[t], (%[d])\n\t"
		"add $8, %[s]\n\t"
		"add $8, %[d]\n\t"
		"sub $8, %[l]\n\t"
		"dec %[w]\n\t"
		"jnz 1b\n"
		"3:\ttest %[l], %[l]\n\t"
		"jz 6f\n"
		"4:\tmovb (%[s]), %b[t]\n"
		"5:\tmovb %b[t], (%[d])\n\t"
		"inc %[s]\n\t"
		"inc %[d]\n\t"
		"dec %[l]\n\t"
		"jnz 4b\n"
		"6:\n\t" EX_ENTRY(1b, 6b) EX_ENTRY(2b, 6b) EX_ENTRY(4b, 6b) EX_ENTRY(5b, 6b)
		: [d] "+r"(dst), [s] "+r"(src), [l] "+r"(len), [w] "+r"(words), [t] "=&q"(tmp)
		:
		: "memory", "cc");
	return len;
}

int copy_from_guest_any(void *dst, uint64_t gva, size_t len)
{
	if (unlikely(!guest_range_ok(gva, len)))
		return -XEN_EFAULT;
	return likely(copy_words(dst, (const void *)gva, len) == 0) ? 0 : -XEN_EFAULT;
}

int copy_to_guest_any(uint64_t gva, const void *src, size_t len)
{
	if (unlikely(!guest_range_ok(gva, len)))
		return -XEN_EFAULT;
	return likely(copy_words((void *)gva, src, len) == 0) ? 0 : -XEN_EFAULT;
}
