/* SPDX-License-Identifier: MIT */
/*
 * PV kernel images: what is read from good ones, how bad ones are refused, and that no mutation
 * makes the parser read outside the image (run under ASan) or accept what cannot be loaded.
 * XYLEM_TEST_KERNEL names a real kernel (ELF) to be tried and mutated as well; SEED a seed.
 */
#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/elfnote.h>

#include "core/elf.h"
#include "tests/seed.h"

#define VIRT_BASE 0xffffffff80000000ULL
#define TEXT_OFFSET 0x1000
#define TEXT_SIZE 0x2000
#define IMAGE_SIZE (TEXT_OFFSET + TEXT_SIZE)
#define NOTES_OFFSET 0x400

/* A small kernel: two segments and notes. */
struct image {
	uint8_t *data;
	size_t size;
	size_t notes_len;
};

static Elf64_Ehdr *ehdr(struct image *im)
{
	return (Elf64_Ehdr *)im->data;
}

static Elf64_Phdr *phdr(struct image *im, unsigned i)
{
	return (Elf64_Phdr *)(im->data + sizeof(Elf64_Ehdr)) + i;
}

static void note(struct image *im, uint32_t type, const void *desc, uint32_t len)
{
	uint8_t *p = im->data + NOTES_OFFSET + im->notes_len;
	Elf64_Nhdr n = {.n_namesz = 4, .n_descsz = len, .n_type = type};

	memcpy(p, &n, sizeof(n));
	memcpy(p + sizeof(n), "Xen", 4);
	memcpy(p + sizeof(n) + 4, desc, len);
	im->notes_len += sizeof(n) + 4 + (len + 3) / 4 * 4;
	phdr(im, 2)->p_filesz = phdr(im, 2)->p_memsz = im->notes_len;
}

static void note_u64(struct image *im, uint32_t type, uint64_t v)
{
	note(im, type, &v, sizeof(v));
}

static struct image make(void)
{
	struct image im = {.data = calloc(1, IMAGE_SIZE), .size = IMAGE_SIZE};
	Elf64_Ehdr *e = ehdr(&im);

	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS64;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_type = ET_EXEC;
	e->e_machine = EM_X86_64;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(Elf64_Phdr);
	e->e_phnum = 3;
	*phdr(&im, 0) = (Elf64_Phdr){.p_type = PT_LOAD,
				     .p_flags = PF_R | PF_X,
				     .p_offset = TEXT_OFFSET,
				     .p_paddr = 0x100000,
				     .p_filesz = TEXT_SIZE,
				     .p_memsz = TEXT_SIZE};
	*phdr(&im, 1) = (Elf64_Phdr){.p_type = PT_LOAD,
				     .p_flags = PF_R | PF_W,
				     .p_offset = TEXT_OFFSET,
				     .p_paddr = 0x200000,
				     .p_filesz = 0x100,
				     .p_memsz = 0x5000};
	*phdr(&im, 2) = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = NOTES_OFFSET};
	note(&im, XEN_ELFNOTE_GUEST_OS, "test", 5);
	note(&im, XEN_ELFNOTE_XEN_VERSION, "xen-3.0", 8);
	note_u64(&im, XEN_ELFNOTE_VIRT_BASE, VIRT_BASE);
	note_u64(&im, XEN_ELFNOTE_ENTRY, VIRT_BASE + 0x100010);
	note_u64(&im, XEN_ELFNOTE_PADDR_OFFSET, 0);
	note(&im, XEN_ELFNOTE_FEATURES, "!writable_page_tables|pae_pgdir_above_4gb", 42);
	return im;
}

static struct elf_kernel kernel;
static char why[200];

static int parse(const struct image *im)
{
	why[0] = 0;
	return elf_parse(im->data, im->size, &kernel, why, sizeof(why));
}

static void refused(struct image *im, const char *text)
{
	cr_assert_eq(parse(im), -8, "not refused, expected: %s", text);
	cr_assert(strstr(why, text), "says '%s' and not '%s'", why, text);
	cr_assert(!strchr(why, '\n'));
	free(im->data);
}

Test(elf, a_good_kernel)
{
	struct image im = make();

	note_u64(&im, XEN_ELFNOTE_HYPERCALL_PAGE, VIRT_BASE + 0x101000);
	note_u64(&im, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
	note(&im, XEN_ELFNOTE_MOD_START_PFN, "\1\0\0\0", 4);
	note(&im, XEN_ELFNOTE_SUSPEND_CANCEL, "\1\0\0\0", 4);
	cr_assert_eq(parse(&im), 0, "%s", why);
	cr_assert_eq(kernel.nr_segments, 2);
	cr_assert_eq(kernel.seg[1].paddr, 0x200000);
	cr_assert_eq(kernel.seg[1].filesz, 0x100);
	cr_assert_eq(kernel.seg[1].memsz, 0x5000);
	cr_assert_eq(kernel.virt_base, VIRT_BASE);
	cr_assert_eq(kernel.entry, VIRT_BASE + 0x100010);
	cr_assert_eq(kernel.kstart, 0x100000);
	cr_assert_eq(kernel.kend, 0x205000);
	cr_assert(kernel.has_hypercall_page && kernel.hypercall_page == VIRT_BASE + 0x101000);
	cr_assert(kernel.has_init_p2m && kernel.init_p2m == 0x8000000000);
	cr_assert(kernel.mod_start_pfn && kernel.suspend_cancel);
	cr_assert_str_eq(kernel.guest_os, "test");
	free(im.data);
}

Test(elf, paddr_offset_is_taken_off)
{
	struct image im = make();

	note_u64(&im, XEN_ELFNOTE_PADDR_OFFSET, 0x100000);
	note_u64(&im, XEN_ELFNOTE_ENTRY, VIRT_BASE + 0x10);
	cr_assert_eq(parse(&im), 0, "%s", why);
	cr_assert_eq(kernel.kstart, 0);
	cr_assert_eq(kernel.kend, 0x105000);
	free(im.data);
	im = make();
	note_u64(&im, XEN_ELFNOTE_PADDR_OFFSET, 0x180000);
	refused(&im, "outside the domain's memory");
}

Test(elf, notes_in_a_section_only)
{
	struct image im = make();
	Elf64_Shdr *sh = (Elf64_Shdr *)(im.data + 0x800);

	sh->sh_type = SHT_NOTE;
	sh->sh_offset = NOTES_OFFSET;
	sh->sh_size = im.notes_len;
	ehdr(&im)->e_shoff = 0x800;
	ehdr(&im)->e_shnum = 1;
	ehdr(&im)->e_shentsize = sizeof(*sh);
	ehdr(&im)->e_phnum = 2;
	cr_assert_eq(parse(&im), 0, "%s", why);
	cr_assert_eq(kernel.virt_base, VIRT_BASE);
	free(im.data);
}

Test(elf, other_files)
{
	struct image im = make();

	memcpy(im.data, "#!/bin/sh", 9);
	refused(&im, "not an ELF file");
	im = make();
	memcpy(im.data, "\x1f\x8b", 2);
	refused(&im, "gzip");
	im = make();
	memcpy(im.data + 0x202, "HdrS", 4);
	refused(&im, "bzImage");
	im = make();
	ehdr(&im)->e_ident[EI_CLASS] = ELFCLASS32;
	refused(&im, "32-bit");
	im = make();
	ehdr(&im)->e_machine = EM_AARCH64;
	refused(&im, "not an x86-64");
	im = make();
	ehdr(&im)->e_type = ET_REL;
	refused(&im, "not an ELF executable");
	im = make();
	ehdr(&im)->e_phnum = 0;
	refused(&im, "no usable program headers");
	im = (struct image){.data = malloc(1), .size = 0};
	refused(&im, "not an ELF file");
}

Test(elf, truncated_at_every_length)
{
	struct image im = make();

	for (size_t n = 0; n < im.size; n++) {
		struct image cut = {malloc(n ? n : 1), n, 0};

		memcpy(cut.data, im.data, n);
		cr_assert_eq(parse(&cut), -8, "%zu bytes", n);
		if (n >= SELFMAG)
			cr_assert(strstr(why, "truncated"), "%zu bytes: %s", n, why);
		free(cut.data);
	}
	free(im.data);
}

Test(elf, bad_segments)
{
	struct image im = make();

	phdr(&im, 0)->p_filesz = TEXT_SIZE + 1;
	phdr(&im, 0)->p_memsz = TEXT_SIZE + 1;
	refused(&im, "truncated");
	im = make();
	phdr(&im, 0)->p_offset = UINT64_MAX - 10;
	refused(&im, "truncated");
	im = make();
	phdr(&im, 0)->p_memsz = 1;
	refused(&im, "more bytes in the file");
	im = make();
	phdr(&im, 1)->p_paddr = 0x101fff;
	refused(&im, "overlaps");
	im = make();
	phdr(&im, 1)->p_paddr = UINT64_MAX - 0x1000;
	refused(&im, "wrap");
	im = make();
	phdr(&im, 1)->p_memsz = 1ULL << 60;
	refused(&im, "oversized");
	im = make();
	phdr(&im, 0)->p_type = phdr(&im, 1)->p_type = PT_NULL;
	refused(&im, "nothing to load");
}

Test(elf, bad_notes)
{
	struct image im = make();

	phdr(&im, 2)->p_filesz -= 1;
	im.data[NOTES_OFFSET + 4] = 0xff; /* the first's length */
	im.data[NOTES_OFFSET + 5] = 0xff;
	refused(&im, "bad ELF note");
	im = make();
	phdr(&im, 2)->p_filesz = 0;
	refused(&im, "not a Xen PV kernel");
	im = make();
	note(&im, XEN_ELFNOTE_VIRT_BASE, "12", 3);
	refused(&im, "not an integer");
	im = make();
	note(&im, XEN_ELFNOTE_XEN_VERSION, "xen-2.0", 8);
	refused(&im, "another Xen ABI");
	im = make();
	note(&im, XEN_ELFNOTE_FEATURES, "!auto_translated_physmap", 25);
	refused(&im, "cannot run as a PV guest");
	im = make();
	im.notes_len = 0;
	note_u64(&im, XEN_ELFNOTE_PHYS32_ENTRY, 0x100000);
	refused(&im, "PVH only");
}

Test(elf, bad_addresses)
{
	struct image im = make();

	note_u64(&im, XEN_ELFNOTE_ENTRY, VIRT_BASE + 0x300000);
	refused(&im, "entry point");
	im = make();
	note_u64(&im, XEN_ELFNOTE_VIRT_BASE, VIRT_BASE + 1);
	refused(&im, "page-aligned");
	im = make();
	note_u64(&im, XEN_ELFNOTE_VIRT_BASE, 0xffff820000000000); /* the hypervisor's */
	refused(&im, "not a guest's");
	im = make();
	note_u64(&im, XEN_ELFNOTE_VIRT_BASE, 0x0000900000000000); /* not canonical */
	refused(&im, "not a guest's");
	im = make();
	note_u64(&im, XEN_ELFNOTE_VIRT_BASE, 0xfffffffffff00000);
	refused(&im, "wrap");
	im = make();
	note_u64(&im, XEN_ELFNOTE_HYPERCALL_PAGE, VIRT_BASE + 0x204800);
	refused(&im, "hypercall page");
	im = make();
	note_u64(&im, XEN_ELFNOTE_HYPERCALL_PAGE, VIRT_BASE + 0x300000);
	refused(&im, "hypercall page");
}

/* What was accepted can be loaded without another check. */
static void check_accepted(const struct image *im)
{
	cr_assert(kernel.nr_segments >= 1 && kernel.nr_segments <= ELF_MAX_SEGMENTS);
	for (unsigned i = 0; i < kernel.nr_segments; i++) {
		const struct elf_segment *s = &kernel.seg[i];

		cr_assert(s->offset <= im->size && s->filesz <= im->size - s->offset);
		cr_assert(s->filesz <= s->memsz);
		cr_assert(s->paddr >= kernel.kstart && s->paddr + s->memsz <= kernel.kend);
		for (unsigned j = 0; j < i; j++)
			cr_assert(s->paddr >= kernel.seg[j].paddr + kernel.seg[j].memsz ||
				  kernel.seg[j].paddr >= s->paddr + s->memsz);
	}
	cr_assert(kernel.virt_base + kernel.kend > kernel.virt_base);
	cr_assert(kernel.entry - kernel.virt_base < kernel.kend);
	cr_assert(kernel.kend <= 1ULL << 46);
	cr_assert(memchr(kernel.guest_os, 0, sizeof(kernel.guest_os)));
	if (kernel.has_hypercall_page)
		cr_assert(kernel.hypercall_page - kernel.virt_base + PAGE_SIZE <= kernel.kend);
}

static const uint64_t interesting[] = {
	0,
	1,
	3,
	4,
	7,
	8,
	0x7f,
	0xff,
	0xffff,
	0x7fffffff,
	0xffffffff,
	0x100000000,
	0x7fffffffffffffff,
	0x8000000000000000,
	0xffffffffffffffff,
	0xfffffffffffff000,
	0xffff800000000000,
	0xffff880000000000,
	0x1000,
	0x100000,
};

static void mutate(uint8_t *p, size_t n, unsigned *seed)
{
	for (int k = rand_r(seed) % 4; k >= 0; k--) {
		size_t at = (size_t)rand_r(seed) % n, len = 1u << rand_r(seed) % 4;
		uint64_t v = interesting[(unsigned)rand_r(seed) % ARRAY_SIZE(interesting)];

		if (rand_r(seed) % 2)
			at &= ~(size_t)3; /* fields are aligned */
		if (rand_r(seed) % 3 == 0)
			v = (uint64_t)rand_r(seed) << 32 | (unsigned)rand_r(seed);
		memcpy(p + at, &v, MIN(len, n - at));
	}
}

Test(elf, mutations)
{
	unsigned seed = (unsigned)seed_from_env(), accepted = 0;
	struct image good = make();

	note_u64(&good, XEN_ELFNOTE_HYPERCALL_PAGE, VIRT_BASE + 0x101000);
	note_u64(&good, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
	cr_log_info("seed %u", seed);
	for (unsigned round = 0; round < 100000; round++) {
		size_t n = rand_r(&seed) % 8 ? good.size : (size_t)rand_r(&seed) % good.size + 1;
		struct image im = {malloc(n), n, 0};

		memcpy(im.data, good.data, n);
		mutate(im.data, MIN(n, NOTES_OFFSET + good.notes_len), &seed);
		if (parse(&im) == 0) {
			check_accepted(&im);
			accepted++;
		} else {
			cr_assert(why[0] && memchr(why, 0, sizeof(why)));
		}
		free(im.data);
	}
	cr_assert(accepted > 1000 && accepted < 99000, "%u accepted", accepted);
	free(good.data);
}

Test(elf, a_real_kernel)
{
	const char *path = getenv("XYLEM_TEST_KERNEL");
	FILE *f = path ? fopen(path, "rb") : NULL;
	unsigned seed = (unsigned)seed_from_env();
	struct image im;

	if (!path)
		cr_skip_test("XYLEM_TEST_KERNEL is not set");
	cr_assert(f, "%s", path);
	fseek(f, 0, SEEK_END);
	im.size = (size_t)ftell(f);
	im.data = malloc(im.size);
	rewind(f);
	cr_assert_eq(fread(im.data, 1, im.size, f), im.size);
	fclose(f);
	cr_assert_eq(parse(&im), 0, "%s", why);
	check_accepted(&im);
	cr_log_info("%s: entry %lx, %u segments, seed %u", kernel.guest_os,
		    (unsigned long)kernel.entry, kernel.nr_segments, seed);
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t save[4096];
		size_t at = 0;

		/* The header, or around the notes, which real kernels keep in the first segment. */
		if (rand_r(&seed) % 2)
			at = phdr(&im, ehdr(&im)->e_phnum - 1)->p_offset;
		memcpy(save, im.data + at, sizeof(save));
		mutate(im.data + at, 512, &seed);
		if (parse(&im) == 0)
			check_accepted(&im);
		memcpy(im.data + at, save, sizeof(save));
	}
	free(im.data);
}
