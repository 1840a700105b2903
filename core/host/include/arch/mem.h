/* SPDX-License-Identifier: MIT */
/*
 * Physical memory of the host build: one mmap'ed arena (host_arena_init()). Its first frame is not
 * number 0, so that frame numbers and arena offsets cannot be taken for each other unnoticed.
 */
#ifndef ARCH_MEM_H
#define ARCH_MEM_H

#include "core/types.h"

#define HOST_FIRST_MFN 0x1000UL

extern uint8_t *host_arena;
extern uint64_t host_arena_frames;

static inline void *arch_mfn_to_virt(mfn_t m)
{
	return host_arena + ((m.v - HOST_FIRST_MFN) << PAGE_SHIFT);
}

static inline mfn_t arch_virt_to_mfn(const void *p)
{
	return MFN((((uint64_t)p - (uint64_t)host_arena) >> PAGE_SHIFT) + HOST_FIRST_MFN);
}

#endif
