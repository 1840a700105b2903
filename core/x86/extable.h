/* SPDX-License-Identifier: MIT */
/*
 * Hypervisor instructions that may fault on a guest's account, and where to go on. One entry is
 * two 32-bit offsets from the entry itself. The table is small and is searched on a fault only.
 */
#ifndef X86_EXTABLE_H
#define X86_EXTABLE_H

#include "core/types.h"

/* For inline assembly: a fault at label @from goes on at label @to. */
#define EX_ENTRY(from, to)                                  \
	".pushsection .ex_table, \"a\"\n\t"                 \
	".balign 4\n\t.long " #from " - ., " #to " - .\n\t" \
	".popsection\n\t"

/* The same for the label 1 before it and the C label @fault of an asm goto. */
#define EX_ENTRY_GOTO                                  \
	".pushsection .ex_table, \"a\"\n\t"            \
	".balign 4\n\t.long 1b - ., %l[fault] - .\n\t" \
	".popsection\n\t"

/** extable_find() - the fixup address for a fault at @rip, or 0. */
uint64_t extable_find(uint64_t rip);

#endif
