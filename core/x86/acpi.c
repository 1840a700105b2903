/* SPDX-License-Identifier: MIT */
#include "core/x86/acpi.h"

/* Everything is read through these: tables are packed and unaligned. */
static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static bool same(const uint8_t *p, const char *sig, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != (uint8_t)sig[i])
			return false;
	}
	return true;
}

static bool sum_ok(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + p[i]);
	return sum == 0;
}

#define SDT_HEADER 36
#define SDT_MAX (4u << 20)

struct table {
	const uint8_t *p;
	uint32_t len;
};

/* A whole, checksummed table; false (and counted) when it is not one. */
static bool map_table(struct acpi_info *info, acpi_map_t map, uint64_t phys, struct table *t)
{
	const uint8_t *h = phys ? map(phys, SDT_HEADER) : NULL;

	if (h) {
		t->len = get32(h + 4);
		if (t->len >= SDT_HEADER && t->len <= SDT_MAX) {
			t->p = map(phys, t->len);
			if (t->p && sum_ok(t->p, t->len))
				return true;
		}
	}
	info->bad_tables++;
	return false;
}

static void add_cpu(struct acpi_info *info, uint32_t id, uint32_t flags)
{
	if (!(flags & 1)) /* only hot-pluggable */
		return;
	for (unsigned i = 0; i < info->cpu_count; i++) {
		if (info->apic_id[i] == id)
			return;
	}
	if (info->cpu_count == MAX_PCPUS)
		info->cpus_dropped++;
	else
		info->apic_id[info->cpu_count++] = id;
}

static void parse_madt(struct acpi_info *info, const struct table *t)
{
	if (t->len < 44)
		return;
	info->lapic_phys = get32(t->p + 36);

	uint32_t at = 44;
	while (t->len - at >= 2) {
		const uint8_t *e = t->p + at;
		uint8_t type = e[0], len = e[1];

		if (len < 2 || len > t->len - at)
			break;
		if (type == 0 && len >= 8) { /* local APIC */
			if (e[3] != 0xff)
				add_cpu(info, e[3], get32(e + 4));
		} else if (type == 9 && len >= 16) { /* local x2APIC */
			add_cpu(info, get32(e + 4), get32(e + 8));
		} else if (type == 1 && len >= 12) { /* I/O APIC */
			if (info->ioapic_count < ACPI_MAX_IOAPICS)
				info->ioapic_phys[info->ioapic_count++] = get32(e + 4);
		} else if (type == 5 && len >= 12) { /* local APIC address override */
			info->lapic_phys = get64(e + 4);
		}
		at += len;
	}
}

static struct acpi_reg gas(const uint8_t *p)
{
	uint64_t addr = get64(p + 4);

	if (!addr || p[0] > 1 || (p[0] == 1 && addr > 0xffff))
		return (struct acpi_reg){ACPI_SPACE_NONE, 0};
	return (struct acpi_reg){p[0] ? ACPI_SPACE_IO : ACPI_SPACE_MEM, addr};
}

/* A register block given twice: the extended address wins when there is one. */
static struct acpi_reg block(const struct table *t, uint32_t legacy, uint32_t ext)
{
	struct acpi_reg r = {ACPI_SPACE_NONE, 0};

	if (t->len >= ext + 12)
		r = gas(t->p + ext);
	if (r.space == ACPI_SPACE_NONE && t->len >= legacy + 4) {
		uint32_t port = get32(t->p + legacy);

		if (port && port <= 0xffff)
			r = (struct acpi_reg){ACPI_SPACE_IO, port};
	}
	return r;
}

static bool pkg_byte(const uint8_t *p, uint32_t len, uint32_t *at, uint8_t *val)
{
	static const uint8_t width[] = {1, 2, 4, 8};

	if (*at >= len)
		return false;
	uint8_t op = p[(*at)++];

	if (op == 0x00 || op == 0x01) { /* ZeroOp, OneOp */
		*val = op;
		return true;
	}
	if (op == 0xff) { /* OnesOp */
		*val = op;
		return true;
	}
	if (op == 0x0a || op == 0x0b || op == 0x0c || op == 0x0e) { /* Byte, Word, DWord, QWord */
		uint32_t n = width[op == 0x0e ? 3 : op - 0x0a];

		if (len - *at < n)
			return false;
		*val = p[*at];
		*at += n;
		return true;
	}
	return false;
}

/* Name(\_S5, Package(){a, b, ...}) by a byte scan: running AML for two constants is not worth it. */
static void find_s5(struct acpi_info *info, const struct table *t)
{
	for (uint32_t i = SDT_HEADER + 1; !info->s5_valid && i + 8 <= t->len; i++) {
		const uint8_t *p = t->p;

		if (!same(p + i, "_S5_", 4))
			continue;
		if (p[i - 1] != 0x08 && !(p[i - 1] == '\\' && p[i - 2] == 0x08))
			continue;
		uint32_t at = i + 4;
		if (p[at] != 0x12) /* PackageOp */
			continue;
		at++;
		at += 1 + (p[at] >> 6); /* PkgLength takes 1 to 4 bytes */
		at++;			/* NumElements */
		uint8_t a, b;
		if (pkg_byte(p, t->len, &at, &a) && pkg_byte(p, t->len, &at, &b)) {
			info->s5_a = a & 7;
			info->s5_b = b & 7;
			info->s5_valid = true;
		}
	}
}

static void parse_fadt(struct acpi_info *info, acpi_map_t map, const struct table *t)
{
	if (t->len < 116)
		return;
	uint32_t flags = get32(t->p + 112);
	struct table dsdt;
	uint64_t x_dsdt = t->len >= 148 ? get64(t->p + 140) : 0;

	if (map_table(info, map, x_dsdt ? x_dsdt : get32(t->p + 40), &dsdt))
		find_s5(info, &dsdt);

	info->pm1a_cnt = block(t, 64, 172);
	info->pm1b_cnt = block(t, 68, 184);
	if (t->p[91] == 4) { /* PM_TMR_LEN */
		info->pm_timer = block(t, 76, 208);
		info->pm_timer_32 = flags & (1u << 8);
	}
	if (t->len >= 129 && (flags & (1u << 10))) {
		info->reset = gas(t->p + 116);
		info->reset_value = t->p[128];
		info->reset_valid = info->reset.space != ACPI_SPACE_NONE;
	}
}

static bool rsdp_ok(const uint8_t *p)
{
	return same(p, "RSD PTR ", 8) && sum_ok(p, 20);
}

static uint64_t scan(acpi_map_t map, uint64_t start, uint64_t len)
{
	for (uint64_t at = 0; at + 20 <= len; at += 16) {
		const uint8_t *p = map(start + at, 20);

		if (p && rsdp_ok(p))
			return start + at;
	}
	return 0;
}

static void parse_one(struct acpi_info *info, acpi_map_t map, const struct table *t, bool *madt)
{
	if (same(t->p, "APIC", 4)) {
		parse_madt(info, t);
		*madt = true;
	} else if (same(t->p, "FACP", 4)) {
		parse_fadt(info, map, t);
	} else if (same(t->p, "HPET", 4) && t->len >= 52 && t->p[40] == 0) {
		info->hpet_phys = get64(t->p + 44);
	} else if (same(t->p, "SSDT", 4)) {
		find_s5(info, t);
	}
}

int acpi_parse_at(struct acpi_info *info, acpi_map_t map, uint64_t rsdp)
{
	*info = (struct acpi_info){0};

	const uint8_t *p = map(rsdp, 20);
	if (!p || !rsdp_ok(p))
		return -1;

	struct table root;
	uint32_t width = 4;
	bool have = false;
	uint64_t rsdt = get32(p + 16);
	if (p[15] >= 2) {
		const uint8_t *q = map(rsdp, 36);

		if (q && get32(q + 20) >= 36 && sum_ok(q, 36))
			have = map_table(info, map, get64(q + 24), &root) &&
			       same(root.p, "XSDT", 4);
	}
	if (have)
		width = 8;
	else if (!map_table(info, map, rsdt, &root) || !same(root.p, "RSDT", 4))
		return -1;

	unsigned n = (root.len - SDT_HEADER) / width;
	bool madt = false;
	for (unsigned i = 0; i < MIN(n, (unsigned)ACPI_MAX_TABLES); i++) {
		const uint8_t *e = root.p + SDT_HEADER + (size_t)i * width;
		struct table t;

		if (map_table(info, map, width == 8 ? get64(e) : get32(e), &t))
			parse_one(info, map, &t, &madt);
	}
	return madt && info->cpu_count ? 0 : -1;
}

int acpi_parse(struct acpi_info *info, acpi_map_t map)
{
	const uint8_t *bda = map(0x40e, 2);
	uint64_t ebda = bda ? (uint64_t)get16(bda) << 4 : 0;
	uint64_t rsdp = 0;

	if (ebda >= 0x400 && ebda < 0xa0000)
		rsdp = scan(map, ebda, 1024);
	if (!rsdp)
		rsdp = scan(map, 0xe0000, 0x20000);
	if (!rsdp) {
		*info = (struct acpi_info){0};
		return -1;
	}
	return acpi_parse_at(info, map, rsdp);
}
