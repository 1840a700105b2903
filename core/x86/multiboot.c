/* SPDX-License-Identifier: MIT */
/* Multiboot 1: memory map, modules, command line. Layouts as in the Multiboot 0.6.96 text. */
#include "core/x86/multiboot.h"

#include <arch/mem.h>

#include "core/lib.h"

#define MB_LOADED 0x2BADB002
#define MB_INFO_CMDLINE (1u << 2)
#define MB_INFO_MODS (1u << 3)
#define MB_INFO_MMAP (1u << 6)
#define MB_RAM 1

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
};

struct mb_module {
	uint32_t start, end, string, reserved;
};

struct mb_mmap {
	uint32_t size;
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

static const void *phys(uint64_t p)
{
	return (const char *)DIRECTMAP_VIRT + p;
}

/* The id of a module is the last word of its string. */
static void module_id(struct boot_module *m, const char *s)
{
	size_t end = strlen(s), start;

	while (end && s[end - 1] == ' ')
		end--;
	start = end;
	while (start && s[start - 1] != ' ')
		start--;
	if (end - start >= sizeof(m->id))
		end = start + sizeof(m->id) - 1;
	memcpy(m->id, s + start, end - start);
	m->id[end - start] = 0;
}

/* Smaller gaps between modules are not worth a range. */
#define MIN_RANGE (64UL << 10)
#define LOW_MEMORY (1UL << 20) /* firmware data, trampoline */

static void add_free(struct boot_info *bi, uint64_t start, uint64_t end)
{
	if (end > start && end - start >= MIN_RANGE && bi->nr_free < BOOT_MAX_RANGES)
		bi->free[bi->nr_free++] = (struct boot_range){start, end};
}

/* Take [start, end) out of every free range. */
static void reserve(struct boot_info *bi, uint64_t start, uint64_t end)
{
	unsigned n = bi->nr_free;

	start &= PAGE_MASK;
	end = ROUND_UP(end, PAGE_SIZE);
	for (unsigned i = 0; i < n; i++) {
		struct boot_range *r = &bi->free[i];
		uint64_t old_end = r->end;

		if (end <= r->start || start >= r->end)
			continue;
		r->end = MAX(r->start, start);
		if (r->end == r->start)
			*r = (struct boot_range){MIN(end, old_end), old_end};
		else
			add_free(bi, end, old_end);
	}
}

static void read_mmap(struct boot_info *bi, const struct mb_info *mb)
{
	for (uint64_t at = mb->mmap_addr; at < (uint64_t)mb->mmap_addr + mb->mmap_length;) {
		const struct mb_mmap *e = phys(at);
		uint64_t start = ROUND_UP(e->addr, PAGE_SIZE);
		uint64_t end = MIN((e->addr + e->len) & PAGE_MASK, DIRECTMAP_SIZE);

		if (e->type == MB_RAM) {
			add_free(bi, MAX(start, LOW_MEMORY), end);
			bi->ram_top = MAX(bi->ram_top, end);
		}
		at += e->size + 4;
	}
}

void multiboot_read(struct boot_info *bi, uint32_t magic, uint64_t mbi)
{
	extern char _end[];
	const struct mb_info *mb = phys(mbi);

	if (magic != MB_LOADED)
		panic("not started by a Multiboot 1 loader (magic %x)", magic);
	if (!(mb->flags & MB_INFO_MMAP))
		panic("the boot loader gave no memory map");
	read_mmap(bi, mb);
	/* The container's boot code, its page tables (still loaded) and the image. */
	reserve(bi, LOW_MEMORY, (uint64_t)_end - IMAGE_VIRT + IMAGE_PHYS);
	if (mb->flags & MB_INFO_CMDLINE)
		str_copy(bi->cmdline, phys(mb->cmdline), sizeof(bi->cmdline));
	if (!(mb->flags & MB_INFO_MODS))
		return;

	const struct mb_module *mods = phys(mb->mods_addr);

	if (mb->mods_count > BOOT_MAX_MODULES)
		panic("%u boot modules, at most %u", mb->mods_count, BOOT_MAX_MODULES);
	for (unsigned i = 0; i < mb->mods_count; i++) {
		struct boot_module *m = &bi->mods[bi->nr_mods++];

		module_id(m, phys(mods[i].string));
		m->start = mods[i].start;
		m->size = mods[i].end - mods[i].start;
		reserve(bi, mods[i].start, mods[i].end);
	}
}

uint64_t multiboot_take(struct boot_info *bi, uint64_t bytes)
{
	for (unsigned i = 0; i < bi->nr_free; i++) {
		struct boot_range *r = &bi->free[i];

		if (r->end - r->start < bytes || r->start + bytes > 4UL << 30)
			continue;
		r->start += bytes;
		return r->start - bytes;
	}
	panic("no %lu KiB of free memory below 4 GiB for the first page tables",
	      (unsigned long)bytes >> 10);
}

bool boot_option(const struct boot_info *bi, const char *key, char *out, size_t size)
{
	size_t klen = strlen(key);

	for (const char *s = bi->cmdline; *s;) {
		const char *end = strchr(s, ' ');
		size_t len = end ? (size_t)(end - s) : strlen(s);

		if (len > klen && !strncmp(s, key, klen) && s[klen] == '=') {
			len = MIN(len - klen - 1, size - 1);
			memcpy(out, s + klen + 1, len);
			out[len] = 0;
			return true;
		}
		s = end ? end + 1 : s + len;
	}
	return false;
}
