/* SPDX-License-Identifier: MIT */
/* What we take from Multiboot 1, copied out before its memory is reused. */
#ifndef X86_MULTIBOOT_H
#define X86_MULTIBOOT_H

#include "core/config.h"
#include "core/types.h"

#define BOOT_MAX_RANGES 64
#define BOOT_MAX_MODULES 256

struct boot_range {
	uint64_t start, end; /* bytes */
};

struct boot_info {
	char cmdline[1024];
	uint64_t ram_top; /* end of the highest usable range */
	unsigned nr_free;
	struct boot_range
		free[BOOT_MAX_RANGES]; /* usable, page-aligned, image and modules cut out */
	unsigned nr_mods;
	struct boot_module mods[BOOT_MAX_MODULES];
};

/** multiboot_read() - fill @bi from the loader's structures at physical @mbi. Panics when the
 * loader gave no memory map. Needs the first 4 GiB in the direct map. */
void multiboot_read(struct boot_info *bi, uint32_t magic, uint64_t mbi);

/** multiboot_take() - cut @bytes (page-aligned) from the first free range below 4 GiB that has room;
 * returns its physical address. Panics when there is none. */
uint64_t multiboot_take(struct boot_info *bi, uint64_t bytes);

/** boot_option() - value of "KEY=" in @bi's command line into @out; false when absent. */
bool boot_option(const struct boot_info *bi, const char *key, char *out, size_t size);

#endif
