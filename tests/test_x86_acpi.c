/* SPDX-License-Identifier: MIT */
/* ACPI parsing on crafted tables, and on damaged ones, which must never be read out of bounds. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/x86/acpi.h"
#include "tests/seed.h"

#define MEM_SIZE 0x140000u /* the "physical memory"; tables lie above 1 MiB */

static uint8_t *mem;
static uint64_t next;

/*
 * Each mapping is a copy of exactly the bytes asked for, so that ASan sees every byte too many.
 */
#define MAX_MAPS 70000
static void *maps[MAX_MAPS];
static unsigned nr_maps;

static const void *map(uint64_t phys, size_t len)
{
	if (phys >= MEM_SIZE || len > MEM_SIZE - phys)
		return NULL;
	cr_assert_lt(nr_maps, MAX_MAPS);
	void *p = malloc(len ? len : 1);

	memcpy(p, mem + phys, len);
	maps[nr_maps++] = p;
	return p;
}

static void unmap_all(void)
{
	while (nr_maps)
		free(maps[--nr_maps]);
}

static void put32(uint64_t at, uint32_t v)
{
	memcpy(mem + at, &v, 4);
}

static void put64(uint64_t at, uint64_t v)
{
	memcpy(mem + at, &v, 8);
}

static void fix_sum(uint64_t at, uint32_t len, uint32_t sum_at)
{
	uint8_t sum = 0;

	mem[at + sum_at] = 0;
	for (uint32_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + mem[at + i]);
	mem[at + sum_at] = (uint8_t)-sum;
}

static uint64_t table(const char *sig, const void *body, uint32_t body_len)
{
	uint64_t at = next;

	memcpy(mem + at, sig, 4);
	put32(at + 4, 36 + body_len);
	memcpy(mem + at + 36, body, body_len);
	fix_sum(at, 36 + body_len, 9);
	next += ROUND_UP(36 + body_len, 16);
	return at;
}

#define RSDP_AT 0xe1230u

static void rsdp(uint64_t rsdt, uint64_t xsdt)
{
	static const uint8_t signature[8] = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};

	memcpy(mem + RSDP_AT, signature, 8);
	mem[RSDP_AT + 15] = xsdt ? 2 : 0;
	put32(RSDP_AT + 16, (uint32_t)rsdt);
	put32(RSDP_AT + 20, 36);
	put64(RSDP_AT + 24, xsdt);
	fix_sum(RSDP_AT, 20, 8);
	fix_sum(RSDP_AT, 36, 32);
}

/* Local APICs 0, 2, disabled 3, again 2; x2APIC 300; one I/O APIC; the address overridden. */
static const uint8_t madt_body[] = {
	0, 0,  0xe0, 0xfe, 1,	 0, 0,	  0, /* address, flags */
	0, 8,  0,    0,	   1,	 0, 0,	  0, /* APIC id 0 */
	0, 8,  1,    2,	   1,	 0, 0,	  0, /* APIC id 2 */
	0, 8,  2,    3,	   2,	 0, 0,	  0, /* APIC id 3: online-capable only */
	0, 8,  3,    2,	   1,	 0, 0,	  0, /* APIC id 2 again */
	0, 8,  4,    0xff, 1,	 0, 0,	  0, /* not an id */
	9, 16, 0,    0,	   0x2c, 1, 0,	  0,	1, 0, 0, 0, 5, 0, 0, 0, /* x2APIC id 300 */
	1, 12, 0,    0,	   0,	 0, 0xc0, 0xfe, 0, 0, 0, 0,		/* I/O APIC at 0xfec00000 */
	4, 6,  0xff, 0,	   0,	 1,					/* NMI: ignored */
	5, 12, 0,    0,	   0,	 0, 0xd0, 0xfe, 1, 0, 0, 0, /* local APICs at 0x1fed00000 */
};

static const uint8_t dsdt_body[] = {
	0x5b, 0x80, '_', 'S',  '5', '_', /* the name, but not as a Name */
	0x08, '_',  'S', '3',  '_', 0x12, 4,	2, 0x01, 0x01, 0x08, '_',
	'S',  '5',  '_', 0x12, 8,   4,	  0x0a, 5, 0x01, 0,    0,
};

static uint64_t fadt(uint64_t dsdt, bool extended)
{
	uint8_t f[268 - 36] = {0};

#define F32(off, v) (*(uint32_t *)(f + (off)-36) = (v))
	F32(40, (uint32_t)dsdt);
	F32(64, 0x604);
	F32(76, 0x608);
	f[91 - 36] = 4;
	F32(112, 1u << 8 | 1u << 10);
	f[116 - 36] = 1; /* reset: I/O 0xcf9 */
	f[120 - 36] = 0xf9;
	f[121 - 36] = 0x0c;
	f[128 - 36] = 0x0f;
	if (extended) {
		f[172 - 36] = 1; /* X_PM1a_CNT: I/O 0xb004 */
		f[176 - 36] = 0x04;
		f[177 - 36] = 0xb0;
		f[208 - 36] = 0; /* X_PM_TMR: memory */
		F32(212, 0xfed80000);
	}
	return table("FACP", f, extended ? sizeof(f) : 129 - 36);
}

static uint64_t build(bool xsdt, bool extended)
{
	uint64_t madt = table("APIC", madt_body, sizeof(madt_body));
	uint64_t dsdt = table("DSDT", dsdt_body, sizeof(dsdt_body));
	uint64_t facp = fadt(dsdt, extended);
	uint8_t h[20] = {0};

	h[10] = 0xd0; /* address 0xfed00000 */
	h[11] = 0xfe;
	uint64_t hpet = table("HPET", h, sizeof(h));
	uint32_t r[3] = {(uint32_t)madt, (uint32_t)facp, (uint32_t)hpet};
	uint64_t x[3] = {madt, facp, hpet};
	uint64_t rsdt = table("RSDT", r, sizeof(r));

	rsdp(rsdt, xsdt ? table("XSDT", x, sizeof(x)) : 0);
	return rsdt;
}

static void setup(void)
{
	mem = calloc(1, MEM_SIZE);
	next = 0x100000;
}

static void teardown(void)
{
	unmap_all();
	free(mem);
}

TestSuite(x86_acpi, .init = setup, .fini = teardown);

static void check_cpus(const struct acpi_info *a)
{
	cr_assert_eq(a->cpu_count, 3);
	cr_assert_eq(a->apic_id[0], 0);
	cr_assert_eq(a->apic_id[1], 2);
	cr_assert_eq(a->apic_id[2], 300);
	cr_assert_eq(a->lapic_phys, 0x1fed00000);
	cr_assert_eq(a->ioapic_count, 1);
	cr_assert_eq(a->ioapic_phys[0], 0xfec00000);
	cr_assert(a->s5_valid);
	cr_assert_eq(a->s5_a, 5);
	cr_assert_eq(a->s5_b, 1);
	cr_assert_eq(a->hpet_phys, 0xfed00000);
	cr_assert(a->reset_valid);
	cr_assert_eq(a->reset.addr, 0xcf9);
	cr_assert_eq(a->reset_value, 0x0f);
	cr_assert(a->pm_timer_32);
	cr_assert_eq(a->bad_tables, 0);
}

Test(x86_acpi, rsdt)
{
	struct acpi_info a;

	build(false, false);
	cr_assert_eq(acpi_parse(&a, map), 0);
	check_cpus(&a);
	cr_assert_eq(a.pm1a_cnt.space, ACPI_SPACE_IO);
	cr_assert_eq(a.pm1a_cnt.addr, 0x604);
	cr_assert_eq(a.pm1b_cnt.space, ACPI_SPACE_NONE);
	cr_assert_eq(a.pm_timer.space, ACPI_SPACE_IO);
	cr_assert_eq(a.pm_timer.addr, 0x608);
}

Test(x86_acpi, xsdt_and_extended_addresses)
{
	struct acpi_info a;

	build(true, true);
	cr_assert_eq(acpi_parse(&a, map), 0);
	check_cpus(&a);
	cr_assert_eq(a.pm1a_cnt.addr, 0xb004);
	cr_assert_eq(a.pm_timer.space, ACPI_SPACE_MEM);
	cr_assert_eq(a.pm_timer.addr, 0xfed80000);
}

Test(x86_acpi, bad_xsdt_falls_back)
{
	struct acpi_info a;
	uint64_t rsdt = build(true, false);

	mem[rsdt + 64] ^= 0xff; /* inside the XSDT, which follows the RSDT's 48 bytes */
	cr_assert_eq(acpi_parse(&a, map), 0);
	cr_assert_eq(a.cpu_count, 3);
	cr_assert_eq(a.bad_tables, 1);
}

Test(x86_acpi, rsdp_in_ebda)
{
	struct acpi_info a;

	build(false, false);
	memcpy(mem + 0x9fc10, mem + RSDP_AT, 36);
	memset(mem + RSDP_AT, 0, 36);
	cr_assert_eq(acpi_parse(&a, map), -1);
	mem[0x40e] = 0xc0;
	mem[0x40f] = 0x9f;
	cr_assert_eq(acpi_parse(&a, map), 0);
	cr_assert_eq(a.cpu_count, 3);
}

/* The other ways AML writes small numbers, in an SSDT. */
Test(x86_acpi, s5_encodings)
{
	static const uint8_t zero_byte[] = {0x08, '_', 'S', '5', '_', 0x12, 6, 4, 0x00, 0x0a, 3, 0};
	static const uint8_t root_words[] = {0x08, '\\', '_', 'S', '5',	 '_', 0x12, 0x49, 0,
					     2,	   0x0b, 6,   0,   0x0c, 2,   0,    0,	  0};
	struct acpi_info a;
	uint32_t ssdt = (uint32_t)table("SSDT", zero_byte, sizeof(zero_byte));

	rsdp(table("RSDT", &ssdt, 4), 0);
	acpi_parse(&a, map);
	cr_assert(a.s5_valid);
	cr_assert_eq(a.s5_a, 0);
	cr_assert_eq(a.s5_b, 3);
	ssdt = (uint32_t)table("SSDT", root_words, sizeof(root_words));
	rsdp(table("RSDT", &ssdt, 4), 0);
	acpi_parse(&a, map);
	cr_assert(a.s5_valid);
	cr_assert_eq(a.s5_a, 6);
	cr_assert_eq(a.s5_b, 2);
}

Test(x86_acpi, no_madt)
{
	struct acpi_info a;
	uint64_t dsdt = table("DSDT", dsdt_body, sizeof(dsdt_body));
	uint32_t facp = (uint32_t)fadt(dsdt, false);

	rsdp(table("RSDT", &facp, 4), 0);
	cr_assert_eq(acpi_parse(&a, map), -1);
	cr_assert_eq(a.cpu_count, 0);
	cr_assert(a.s5_valid); /* the rest is still there */
}

Test(x86_acpi, bad_checksum_is_skipped)
{
	struct acpi_info a;

	build(false, false);
	mem[0x100000 + 50] ^= 1; /* in the MADT, the first table */
	cr_assert_eq(acpi_parse(&a, map), -1);
	cr_assert_eq(a.bad_tables, 1);
}

Test(x86_acpi, more_cpus_than_we_take)
{
	uint8_t body[8 + 400 * 16] = {0};
	struct acpi_info a;

	for (unsigned i = 0; i < 400; i++) {
		uint8_t *e = body + 8 + i * 16;

		e[0] = 9;
		e[1] = 16;
		e[4] = (uint8_t)i;
		e[5] = (uint8_t)(i >> 8);
		e[8] = 1;
	}
	uint32_t madt = (uint32_t)table("APIC", body, sizeof(body));

	rsdp(table("RSDT", &madt, 4), 0);
	cr_assert_eq(acpi_parse(&a, map), 0);
	cr_assert_eq(a.cpu_count, MAX_PCPUS);
	cr_assert_eq(a.cpus_dropped, 400 - MAX_PCPUS);
	cr_assert_eq(a.apic_id[254], 254);
}

/* Damaged tables with right checksums: any answer, but no access outside what was mapped. */
Test(x86_acpi, fuzz)
{
	unsigned parsed = 0;

	srand((unsigned)seed_from_env());
	build(true, true);
	uint64_t end = next;
	uint8_t *good = malloc(MEM_SIZE);

	memcpy(good, mem, MEM_SIZE);
	for (unsigned round = 0; round < 20000; round++) {
		struct acpi_info a;

		for (unsigned n = 1 + (unsigned)rand() % 6; n; n--)
			mem[0x100000 + (unsigned)rand() % (end - 0x100000)] = (uint8_t)rand();
		for (uint64_t at = 0x100000; at < end;) { /* make the sums right again */
			uint32_t len;

			memcpy(&len, good + at + 4, 4);
			uint32_t claimed;
			memcpy(&claimed, mem + at + 4, 4);
			if (claimed >= 36 && claimed <= MEM_SIZE - at)
				fix_sum(at, claimed, 9);
			at += ROUND_UP(len, 16);
		}
		if (acpi_parse_at(&a, map, RSDP_AT) == 0)
			parsed++;
		cr_assert_leq(a.cpu_count, MAX_PCPUS);
		cr_assert_leq(a.ioapic_count, ACPI_MAX_IOAPICS);
		unmap_all();
		memcpy(mem + 0x100000, good + 0x100000, end - 0x100000);
	}
	cr_assert_gt(parsed, 1000);
	free(good);
}
