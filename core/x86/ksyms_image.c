/* SPDX-License-Identifier: MIT */
/* The table in the image: generated from its first link, empty while there is none. */
#include "core/x86/ksyms.h"

extern const uint32_t xylem_ksyms_count;
extern const uint32_t xylem_ksyms_addrs[];
extern const uint32_t xylem_ksyms_names_off[];
extern const char xylem_ksyms_names[];

const char *ksyms_lookup(uint64_t addr, uint64_t *offset)
{
	struct ksyms t = {KSYMS_BASE, xylem_ksyms_count, xylem_ksyms_addrs, xylem_ksyms_names_off,
			  xylem_ksyms_names};

	return ksyms_find(&t, addr, offset);
}
