/* SPDX-License-Identifier: MIT */
#include "core/x86/extable.h"

struct ex_entry {
	int32_t from, to;
};

extern const struct ex_entry __ex_table_start[], __ex_table_end[];

uint64_t extable_find(uint64_t rip)
{
	for (const struct ex_entry *e = __ex_table_start; e < __ex_table_end; e++)
		if ((uint64_t)&e->from + (int64_t)e->from == rip)
			return (uint64_t)&e->to + (int64_t)e->to;
	return 0;
}
