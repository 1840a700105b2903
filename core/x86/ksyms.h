/* SPDX-License-Identifier: MIT */
/* Addresses to function names, from the table that launch/ksyms.py links into the image. */
#ifndef CORE_X86_KSYMS_H
#define CORE_X86_KSYMS_H

#include "core/types.h"

#define KSYMS_BASE 0xffff82d040000000UL

/* A symbol table: @addrs are sorted offsets from @base, @names_off index @names. */
struct ksyms {
	uint64_t base;
	uint32_t count;
	const uint32_t *addrs;
	const uint32_t *names_off;
	const char *names;
};

/**
 * ksyms_find() - function of @t around @addr; *@offset is the distance from its start. NULL when
 * @addr is below the first symbol, or farther than 1 MiB behind the last one before it.
 */
const char *ksyms_find(const struct ksyms *t, uint64_t addr, uint64_t *offset);

/** ksyms_lookup() - the same in the hypervisor's own table; NULL also when it has none. */
const char *ksyms_lookup(uint64_t addr, uint64_t *offset);

#endif
