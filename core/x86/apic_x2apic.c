/* SPDX-License-Identifier: MIT */
/* x2APIC: registers are MSRs, 32-bit ids, the ICR is one 64-bit register without a busy bit. */
#include "core/x86/apic.h"

#define X2APIC_MSR(reg) (0x800u + ((uint32_t)(reg) >> 4))

static uint32_t x2apic_read(enum apic_reg reg)
{
	return (uint32_t)apic_hw.rdmsr(X2APIC_MSR(reg));
}

static void x2apic_write(enum apic_reg reg, uint32_t val)
{
	apic_hw.wrmsr(X2APIC_MSR(reg), val);
}

static void x2apic_enable(void)
{
	uint64_t base = apic_hw.rdmsr(0x1b);

	/* From disabled, the way to x2APIC leads through xAPIC (SDM 10.12.5). */
	if (!(base & (1u << 11)))
		apic_hw.wrmsr(0x1b, base |= 1u << 11);
	if (!(base & (1u << 10)))
		apic_hw.wrmsr(0x1b, base | (1u << 10));
}

static uint32_t x2apic_id(void)
{
	return x2apic_read(APIC_ID);
}

static void x2apic_icr(uint32_t dest, uint32_t low)
{
	/*
	 * WRMSR to the x2APIC range is not serializing (SDM 10.12.3): what we stored for the target
	 * must be visible before the interrupt is.
	 */
	__asm__ volatile("mfence; lfence" ::: "memory");
	apic_hw.wrmsr(X2APIC_MSR(APIC_ICR), (uint64_t)dest << 32 | low);
}

const struct apic_ops x2apic_ops = {
	.name = "x2APIC",
	.max_id = UINT32_MAX - 1,
	.enable = x2apic_enable,
	.id = x2apic_id,
	.read = x2apic_read,
	.write = x2apic_write,
	.icr = x2apic_icr,
};
