/* SPDX-License-Identifier: MIT */
/* Direct map on x86: all RAM, supervisor-only, at DIRECTMAP_VIRT. */
#ifndef ARCH_MEM_H
#define ARCH_MEM_H

#include <arch/layout.h>

#include "core/types.h"

static inline void *arch_mfn_to_virt(mfn_t m)
{
	return (void *)(DIRECTMAP_VIRT + (m.v << PAGE_SHIFT));
}

static inline mfn_t arch_virt_to_mfn(const void *p)
{
	return MFN(((uint64_t)p - DIRECTMAP_VIRT) >> PAGE_SHIFT);
}

#endif
