/* SPDX-License-Identifier: MIT */
/*
 * The boot configuration: a text module (id CONFIG_MODULE) with one statement per line.
 *
 *   # comment
 *   set KEY VALUE
 *   guest name=linux1 kind=linux kernel=k0 initrd=i0 vcpus=2 mem=256M weight=256
 *         warp=off|<warp_us>:<L_us>:<U_us> pin=all|0-3+5 min=32M shares=2560
 *         cmdline="console=hvc0 ..."   (one line)
 *
 * kernel= and initrd= are the ids of boot modules. mem and min take a number with K, M or G, default
 * M. min is what is never taken from the guest, shares its part when memory is scarce.
 * In a quoted value \" and \\ stand for themselves. An error belongs to its line only.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "core/types.h"
#include "percpu/cpumask.h"

#include <xen/xen.h>

#define CONFIG_MODULE "xylem.conf"
#define CONFIG_NAME_MAX 32
#define CONFIG_KIND_MAX 16
#define CONFIG_ID_MAX 32
#define CONFIG_VALUE_MAX 64
#define CONFIG_ERROR_MAX 160
#define CONFIG_DEFAULT UINT64_MAX
#define CONFIG_SEEN_SLOTS 4096 /* power of two, > 1.5 x MAX_DOMAINS */

/* A boot module: a read-only run of machine memory with a name. */
struct boot_module {
	char id[CONFIG_ID_MAX]; /* last word of its Multiboot string */
	uint64_t start;		/* machine address, page-aligned */
	uint64_t size;		/* bytes */
};

struct guest_config {
	char name[CONFIG_NAME_MAX];
	char kind[CONFIG_KIND_MAX];
	char kernel[CONFIG_ID_MAX];
	char initrd[CONFIG_ID_MAX]; /* "" when none */
	unsigned vcpus;
	uint64_t mem_bytes;
	uint64_t min_bytes; /* CONFIG_DEFAULT when not given */
	unsigned shares;    /* 0 when not given */
	unsigned weight;
	bool warp;
	uint64_t warp_us, warp_limit_us, unwarp_us;
	bool pinned; /* else any pCPU */
	cpumask_t pin;
	char cmdline[MAX_GUEST_CMDLINE];
	unsigned line;
};

enum config_kind {
	CONFIG_END,
	CONFIG_GUEST,	     /* guest is filled in */
	CONFIG_SET,	     /* key and value are */
	CONFIG_BAD_GUEST,    /* error; guest.name if the line had a good one, else "" */
	CONFIG_BAD_STATEMENT /* error */
};

struct config_item {
	enum config_kind kind;
	unsigned line;
	struct guest_config guest;
	char key[CONFIG_VALUE_MAX];
	char value[CONFIG_VALUE_MAX];
	char error[CONFIG_ERROR_MAX]; /* "line 3: mem=12x: not a size" */
};

/* Large (16 KiB): keep it static. */
struct config_reader {
	const char *text;
	size_t len, pos;
	unsigned line;
	uint32_t
		seen[CONFIG_SEEN_SLOTS]; /* offset + 1 of a guest's name; by hash, linear probing */
};

/** config_open() - start reading @len bytes at @text, which stay in place while reading. */
void config_open(struct config_reader *r, const char *text, size_t len);

/**
 * config_next() - read the next statement into @item.
 * Returns item->kind; after CONFIG_END it keeps returning that. Reads nothing outside the text.
 */
enum config_kind config_next(struct config_reader *r, struct config_item *item);

/** config_parse_size() - "64M", "1G", "512K", "300" (MiB). Returns false if it is not a size. */
bool config_parse_size(const char *s, uint64_t *bytes);

/** config_parse_pin() - "all" (*pinned false) or ranges joined by '+', as "0-3+5". */
bool config_parse_pin(const char *s, bool *pinned, cpumask_t *mask);

/** config_name_ok() - whether a guest's name has these only: letters, digits, '-', '_' and '.'. The
 * length, up to CONFIG_NAME_MAX - 1, is the caller's to check. */
bool config_name_ok(const char *s);

/** boot_module_find() - the module with this id, or NULL. */
const struct boot_module *boot_module_find(const struct boot_module *mods, unsigned n,
					   const char *id);

#endif
