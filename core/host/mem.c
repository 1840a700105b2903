/* SPDX-License-Identifier: MIT */
/* Physical memory of the host build, and guest memory access by plain pointers. */
#include <string.h>
#include <sys/mman.h>

#include "core/arch.h"
#include "core/host/host.h"
#include "core/xen_errno.h"

uint8_t *host_arena;
uint64_t host_arena_frames;
uint64_t arch_hyp_l4[16];

static uint64_t guest_lo = PAGE_SIZE, guest_hi = UINT64_MAX;

void host_arena_init(uint64_t frames)
{
	void *p;

	if (host_arena)
		munmap(host_arena, host_arena_frames << PAGE_SHIFT);
	p = mmap(NULL, frames << PAGE_SHIFT, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		panic("no memory for an arena of %llu frames", (unsigned long long)frames);
	host_arena = p;
	host_arena_frames = frames;
}

void host_guest_range(uint64_t lo, uint64_t hi)
{
	guest_lo = lo;
	guest_hi = hi;
}

static bool guest_ok(uint64_t gva, size_t len)
{
	return gva >= guest_lo && gva + len >= gva && gva + len <= guest_hi;
}

int copy_from_guest(void *dst, uint64_t gva, size_t len)
{
	if (!guest_ok(gva, len))
		return -XEN_EFAULT;
	memcpy(dst, (const void *)gva, len);
	return 0;
}

int copy_to_guest(uint64_t gva, const void *src, size_t len)
{
	if (!guest_ok(gva, len))
		return -XEN_EFAULT;
	memcpy((void *)gva, src, len);
	return 0;
}

void (*host_tlb_hook)(uint64_t va);

void arch_tlb_flush_local(void)
{
	if (host_tlb_hook)
		host_tlb_hook(UINT64_MAX);
}

void arch_tlb_flush_one(uint64_t va)
{
	if (host_tlb_hook)
		host_tlb_hook(va);
}
