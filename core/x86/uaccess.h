/* SPDX-License-Identifier: MIT */
/* Access to the current guest's virtual addresses: plain loads and stores with a fixup. */
#ifndef X86_UACCESS_H
#define X86_UACCESS_H

#include <arch/layout.h>

#include "core/types.h"

/* Is [va, va+len) canonical and wholly outside the hypervisor's slots? */
static inline bool guest_range_ok(uint64_t va, uint64_t len)
{
	uint64_t end = va + len;

	if (unlikely(len > GUEST_LOW_END || end < va))
		return len <= GUEST_LOW_END && end == 0 && va >= HYP_VIRT_END;
	return end <= GUEST_LOW_END || va >= HYP_VIRT_END;
}

#endif
