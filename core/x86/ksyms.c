/* SPDX-License-Identifier: MIT */
#include "core/x86/ksyms.h"

#define FARTHEST (1u << 20)

const char *ksyms_find(const struct ksyms *t, uint64_t addr, uint64_t *offset)
{
	uint32_t lo = 0, hi = t->count; /* the answer, if any, is in [lo, hi) */

	if (addr < t->base || addr - t->base > UINT32_MAX)
		return NULL;
	uint32_t at = (uint32_t)(addr - t->base);

	if (!hi || at < t->addrs[0])
		return NULL;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (t->addrs[mid] <= at)
			lo = mid;
		else
			hi = mid;
	}
	if (at - t->addrs[lo] > FARTHEST)
		return NULL;
	*offset = at - t->addrs[lo];
	return t->names + t->names_off[lo];
}
