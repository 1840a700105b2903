/* SPDX-License-Identifier: MIT */
/* The part common to both APIC modes; touches hardware only through apic->... and apic_hw. */
#include "core/x86/apic.h"

#define ICR_FIXED 0x000u
#define ICR_NMI 0x400u
#define ICR_INIT 0x500u
#define ICR_STARTUP 0x600u
#define ICR_ASSERT (1u << 14)
#define ICR_ALL_OTHERS (3u << 18)

#define LVT_MASKED (1u << 16)
#define LVT_TSC_DEADLINE (2u << 17)
#define SVR_ENABLE (1u << 8)
#define TIMER_DIV_1 0xbu

const struct apic_ops *apic = &xapic_ops;

void apic_init_cpu(void)
{
	apic->enable();
	apic->write(APIC_TPR, 0);

	unsigned last_lvt = apic->read(APIC_VERSION) >> 16 & 0xff;
	apic->write(APIC_LVT_TIMER, LVT_MASKED | VEC_TIMER);
	apic->write(APIC_LVT_LINT0, LVT_MASKED);
	apic->write(APIC_LVT_LINT1, LVT_MASKED);
	apic->write(APIC_LVT_ERROR, LVT_MASKED | VEC_SPURIOUS);
	if (last_lvt >= 4)
		apic->write(APIC_LVT_PERF, LVT_MASKED);
	if (last_lvt >= 5)
		apic->write(APIC_LVT_THERMAL, LVT_MASKED);
	if (last_lvt >= 6)
		apic->write(APIC_LVT_CMCI, LVT_MASKED);

	apic->write(APIC_TIMER_DIV, TIMER_DIV_1);
	apic->write(APIC_TIMER_INIT, 0);
	apic->write(APIC_SVR, SVR_ENABLE | VEC_SPURIOUS);
	apic->write(APIC_LVT_TIMER, VEC_TIMER); /* one-shot; silent until a count is set */
}

uint32_t apic_id(void)
{
	return apic->id();
}

void apic_eoi(void)
{
	apic->write(APIC_EOI, 0);
}

void apic_send_ipi(uint32_t dest, uint8_t vector)
{
	apic->icr(dest, ICR_FIXED | ICR_ASSERT | vector);
}

void apic_send_init(uint32_t dest)
{
	apic->icr(dest, ICR_INIT | ICR_ASSERT);
}

void apic_send_sipi(uint32_t dest, uint8_t page)
{
	apic->icr(dest, ICR_STARTUP | ICR_ASSERT | page);
}

void apic_send_init_all(void)
{
	apic->icr(0, ICR_ALL_OTHERS | ICR_INIT | ICR_ASSERT);
}

void apic_send_sipi_all(uint8_t page)
{
	apic->icr(0, ICR_ALL_OTHERS | ICR_STARTUP | ICR_ASSERT | page);
}

void apic_send_nmi_all_others(void)
{
	apic->icr(0, ICR_ALL_OTHERS | ICR_NMI | ICR_ASSERT);
}

void apic_timer_oneshot(uint32_t ticks)
{
	apic->write(APIC_TIMER_INIT, ticks);
}

void apic_timer_free_run(void)
{
	apic->write(APIC_LVT_TIMER, LVT_MASKED | VEC_TIMER);
	apic->write(APIC_TIMER_INIT, UINT32_MAX);
}

uint32_t apic_timer_count(void)
{
	return apic->read(APIC_TIMER_CUR);
}

void apic_timer_stop(void)
{
	apic->write(APIC_TIMER_INIT, 0);
	apic->write(APIC_LVT_TIMER, VEC_TIMER);
}

void apic_timer_deadline_mode(void)
{
	apic->write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VEC_TIMER);
	/* The mode change must be done before the first deadline is written (SDM 10.5.4.1). */
	__asm__ volatile("mfence" ::: "memory");
}
