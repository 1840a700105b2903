/* SPDX-License-Identifier: MIT */
/*
 * PV kernels: ELF64 images with Xen's ELF notes (ABI: <xen/elfnote.h>, System V ELF).
 * The image is untrusted: every offset is checked before it is used.
 */
#ifndef CORE_ELF_H
#define CORE_ELF_H

#include "core/types.h"

#define ELF_MAX_SEGMENTS 16

struct elf_segment {
	uint64_t offset, filesz; /* in the file */
	uint64_t paddr, memsz;	 /* bytes from the start of the domain's memory */
	bool writable;
};

struct elf_kernel {
	const uint8_t *image;
	uint64_t size;
	unsigned nr_segments;
	struct elf_segment seg[ELF_MAX_SEGMENTS];

	uint64_t virt_base;    /* virtual address of the domain's pfn 0 */
	uint64_t entry;	       /* virtual */
	uint64_t kstart, kend; /* loaded range, bytes from pfn 0 */
	bool has_hypercall_page;
	uint64_t hypercall_page; /* virtual, page-aligned, inside the loaded range */
	bool has_init_p2m;
	uint64_t init_p2m;  /* virtual address for the P2M table */
	bool mod_start_pfn; /* takes an initrd that is not mapped, by pfn */
	bool suspend_cancel;
	char guest_os[16];
};

/**
 * elf_parse() - check a kernel image and read its notes.
 * @why: one clear line when it is refused.
 * Returns 0 or -XEN_ENOEXEC. Any context; keeps pointers into @image.
 */
int elf_parse(const void *image, uint64_t size, struct elf_kernel *k, char *why, size_t why_len);

#endif
