/* SPDX-License-Identifier: MIT */
/* Between core/builder.c and core/builder_tables.c only. */
#ifndef CORE_BUILDER_IMPL_H
#define CORE_BUILDER_IMPL_H

#include "core/builder.h"

struct build {
	struct domain *d;
	struct elf_kernel kernel;
	struct build_layout l;
	const struct boot_module *initrd;
	mfn_t spare; /* stands in for pages that there is no memory for */
	bool no_memory;
	char *why;
	size_t why_len;
};

/** build_page() - hypervisor's address of a page of the new domain, to be written. When there is
 * no memory for it, b->no_memory is set and what is written is lost. */
void *build_page(struct build *b, uint64_t pfn);

/** build_copy() - copy into the domain's memory at byte offset @at. */
void build_copy(struct build *b, uint64_t at, const void *src, uint64_t len);

/** build_tables() - write the boot page tables in guest format. */
void build_tables(struct build *b);

#endif
