/* SPDX-License-Identifier: MIT */
/* xAPIC: registers in a page of uncached memory, 8-bit ids. */
#include "core/x86/apic.h"

#define ICR_PENDING (1u << 12)

static uint32_t xapic_read(enum apic_reg reg)
{
	return apic_hw.mmio[reg / 4];
}

static void xapic_write(enum apic_reg reg, uint32_t val)
{
	apic_hw.mmio[reg / 4] = val;
}

static void xapic_enable(void)
{
	uint64_t base = apic_hw.rdmsr(0x1b);

	if (!(base & (1u << 11)))
		apic_hw.wrmsr(0x1b, base | (1u << 11));
	/* Flat model: no logical destinations are used, but they must not match by accident. */
	xapic_write(APIC_DFR, 0xffffffff);
	xapic_write(APIC_LDR, 0);
}

static uint32_t xapic_id(void)
{
	return xapic_read(APIC_ID) >> 24;
}

static void xapic_icr(uint32_t dest, uint32_t low)
{
	while (xapic_read(APIC_ICR) & ICR_PENDING)
		__asm__ volatile("pause");
	xapic_write(APIC_ICR2, dest << 24);
	xapic_write(APIC_ICR, low);
}

const struct apic_ops xapic_ops = {
	.name = "xAPIC",
	.max_id = 254,
	.enable = xapic_enable,
	.id = xapic_id,
	.read = xapic_read,
	.write = xapic_write,
	.icr = xapic_icr,
};
