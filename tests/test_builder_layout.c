/* SPDX-License-Identifier: MIT */
/* Start-of-day layout: nothing overlaps, all fits, the tables suffice. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/builder.h"

#define MIB(n) ((uint64_t)(n) << 8) /* in pages */

/* Debian 6.1's numbers. */
static const struct elf_kernel linux_like = {
	.virt_base = 0xffffffff80000000,
	.entry = 0xffffffff830791c0,
	.kstart = 0x1000000,
	.kend = 0x4a00000,
	.has_init_p2m = true,
	.init_p2m = 0x8000000000,
	.mod_start_pfn = true,
};

struct area {
	const char *name;
	uint64_t pfn, pages;
};

static unsigned areas(const struct build_layout *l, const struct elf_kernel *k, struct area *a)
{
	unsigned n = 0;

	a[n++] = (struct area){"kernel", k->kstart >> 12, l->kernel_end - (k->kstart >> 12)};
	a[n++] = (struct area){"initrd", l->initrd_pfn, l->initrd_pages};
	a[n++] = (struct area){"p2m", l->p2m_pfn, l->p2m_pages};
	a[n++] = (struct area){"p2m tables", l->p2m_pt_pfn, l->p2m_pt_pages};
	a[n++] = (struct area){"start_info", l->start_info_pfn, 1};
	a[n++] = (struct area){"console", l->console_pfn, 1};
	a[n++] = (struct area){"tables", l->pt_pfn, l->pt_pages};
	a[n++] = (struct area){"stack", l->stack_pfn, 1};
	return n;
}

static uint64_t spans(uint64_t va, uint64_t pages, unsigned shift)
{
	return ((va + pages * PAGE_SIZE - 1) >> shift) - (va >> shift) + 1;
}

static void check(const struct build_layout *l, const struct elf_kernel *k)
{
	struct area a[16];
	unsigned n = areas(l, k, a);
	uint64_t need;

	for (unsigned i = 0; i < n; i++) {
		cr_assert(a[i].pfn + a[i].pages <= l->nr_pages, "%s", a[i].name);
		for (unsigned j = 0; j < i; j++)
			cr_assert(!a[i].pages || !a[j].pages || a[i].pfn >= a[j].pfn + a[j].pages ||
					  a[j].pfn >= a[i].pfn + a[i].pages,
				  "%s and %s overlap", a[i].name, a[j].name);
	}
	/* Mapped: everything up to the stack, and 512 KiB of padding behind it. */
	cr_assert(l->stack_pfn + 1 + 128 <= l->map_pages);
	cr_assert(l->map_pages <= l->nr_pages);
	if (l->map_pages < l->nr_pages)
		cr_assert((k->virt_base + l->map_pages * PAGE_SIZE) % (4 << 20) == 0);
	need = 1 + spans(k->virt_base, l->map_pages, 21) + spans(k->virt_base, l->map_pages, 30) +
	       spans(k->virt_base, l->map_pages, 39);
	cr_assert(l->pt_pages >= need, "%lu tables, %lu needed", (unsigned long)l->pt_pages,
		  (unsigned long)need);
	cr_assert(l->p2m_pages * PAGE_SIZE >= l->nr_pages * 8);
	if (!l->p2m_apart)
		cr_assert_eq(l->p2m_va, k->virt_base + l->p2m_pfn * PAGE_SIZE);
	else /* Linux frees this range by its page tables: it has them to itself, right behind */
		cr_assert_eq(l->p2m_pt_pfn, l->p2m_pfn + l->p2m_pages);
}

Test(layout, linux)
{
	struct build_layout l;
	char why[160] = "";

	cr_assert_eq(build_layout(&l, &linux_like, MIB(256), 20 << 20, why, sizeof(why)), 0, "%s",
		     why);
	check(&l, &linux_like);
	cr_assert(l.p2m_apart && !l.initrd_mapped);
	cr_assert_eq(l.p2m_va, 0x8000000000);
	cr_assert_eq(l.initrd_pages, 20 << 8);
	cr_assert(l.initrd_pfn >= l.map_pages && l.p2m_pfn >= l.map_pages);
}

Test(layout, initrd_and_p2m_mapped_for_old_kernels)
{
	struct elf_kernel k = linux_like;
	struct build_layout l;
	char why[160];

	k.has_init_p2m = k.mod_start_pfn = false;
	cr_assert_eq(build_layout(&l, &k, MIB(256), 12345678, why, sizeof(why)), 0);
	check(&l, &k);
	cr_assert(!l.p2m_apart && l.initrd_mapped);
	cr_assert(l.initrd_pfn + l.initrd_pages <= l.map_pages);
}

/* An INIT_P2M inside the kernel's own L4 slot, or the hypervisor's, is not used. */
Test(layout, p2m_address_refused)
{
	static const uint64_t bad[] = {0xffffff8000000000, 0xffffffff00000000, 0xffff800000000000,
				       0xffff87ffffff0000, 0x8000000001,       0x7ffffffff000,
				       0x800000000000};
	struct build_layout l;
	char why[160];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct elf_kernel k = linux_like;

		k.init_p2m = bad[i];
		cr_assert_eq(build_layout(&l, &k, MIB(512), 0, why, sizeof(why)), 0);
		check(&l, &k);
		cr_assert(!l.p2m_apart, "%lx", (unsigned long)bad[i]);
	}
}

Test(layout, too_little_memory)
{
	struct build_layout l;
	char why[160] = "";

	cr_assert_eq(build_layout(&l, &linux_like, MIB(32), 0, why, sizeof(why)), -12);
	cr_assert(strstr(why, "too little memory: 32768 KiB"), "%s", why);
	cr_assert_eq(build_layout(&l, &linux_like, 0, 0, why, sizeof(why)), -12);
	/* Exactly enough, and one page less. */
	for (uint64_t pages = MIB(40);; pages++) {
		if (build_layout(&l, &linux_like, pages, 5 << 20, why, sizeof(why)))
			continue;
		check(&l, &linux_like);
		cr_assert(pages > MIB(74) && pages < MIB(90));
		break;
	}
}

/* A mini-guest of a few MiB: the region is not rounded up beyond its memory. */
Test(layout, small)
{
	struct elf_kernel k = {.virt_base = 0x100000, .entry = 0x100000, .kend = 0x20000};
	struct build_layout l;
	char why[160];

	cr_assert_eq(build_layout(&l, &k, MIB(2), 0, why, sizeof(why)), 0);
	check(&l, &k);
	cr_assert_eq(l.map_pages, MIB(2));
}

Test(layout, no_room_at_the_top)
{
	struct elf_kernel k = linux_like;
	struct build_layout l;
	char why[160] = "";

	k.mod_start_pfn = false;
	cr_assert_eq(build_layout(&l, &k, MIB(4096), 0x7c000000, why, sizeof(why)), -12);
	cr_assert(strstr(why, "address space"), "%s", why);
}

Test(layout, random)
{
	unsigned seed = 20260102, good = 0;
	struct build_layout l;
	char why[160];

	cr_log_info("seed %u", seed);
	for (unsigned i = 0; i < 200000; i++) {
		static const uint64_t bases[] = {0,
						 0x400000,
						 0x123000,
						 0x7fff00000000,
						 0xffffffff80000000,
						 0xffff880000000000,
						 0xffffffffc0000000,
						 0x7fffff000};
		struct elf_kernel k = {
			.virt_base = bases[(unsigned)rand_r(&seed) % ARRAY_SIZE(bases)],
			.kend = 1 + (uint64_t)(rand_r(&seed) % (64 << 20)),
			.has_init_p2m = rand_r(&seed) % 2,
			.init_p2m = (uint64_t)(rand_r(&seed) % 512) << 39 |
				    (uint64_t)(rand_r(&seed) % 4) << 12,
			.mod_start_pfn = rand_r(&seed) % 2,
		};
		uint64_t pages = (uint64_t)(rand_r(&seed) % (1 << (rand_r(&seed) % 20)));
		uint64_t initrd = rand_r(&seed) % 2 ? (uint64_t)(rand_r(&seed) % (16 << 20)) : 0;

		if (k.init_p2m >> 47)
			k.init_p2m |= 0xffff000000000000;
		if (build_layout(&l, &k, pages, initrd, why, sizeof(why)))
			continue;
		check(&l, &k);
		good++;
	}
	cr_assert(good > 10000, "only %u layouts were possible", good);
}
