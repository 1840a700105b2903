/* SPDX-License-Identifier: MIT */
/* The machine-to-phys table that ordinary domains share: names are pfns, so it is the identity. */
#include "memsvc/mm.h"

#include "core/xen_errno.h"

static mfn_t first = {UINT64_MAX};
static uint64_t frames;

#define PER_FRAME (PAGE_SIZE / sizeof(uint64_t))

int mm_m2p_init(uint64_t names)
{
	uint64_t n = DIV_ROUND_UP(names, PER_FRAME);
	uint64_t *t;

	first = frames_alloc_contig(n);
	if (!mfn_valid_value(first))
		return -XEN_ENOMEM;
	frames = n;
	t = arch_mfn_to_virt(first);
	for (uint64_t i = 0; i < n * PER_FRAME; i++)
		t[i] = i;
	return 0;
}

mfn_t mm_m2p_first(void)
{
	return first;
}

uint64_t mm_m2p_frames(void)
{
	return frames;
}

uint64_t mm_m2p_max(void)
{
	return frames * PER_FRAME - 1;
}
