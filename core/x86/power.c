/* SPDX-License-Identifier: MIT */
#include "core/x86/power.h"

#include <arch/cpu.h>
#include <arch/mem.h>

#include "core/arch.h"
#include "core/x86/acpi.h"

#define PM1_SLP_TYP_SHIFT 10
#define PM1_SLP_TYP_MASK (7u << PM1_SLP_TYP_SHIFT)
#define PM1_SLP_EN (1u << 13)

#define KBC_STATUS 0x64
#define KBC_INPUT_FULL 2
#define KBC_PULSE_RESET 0xfe

static void pm1_sleep(struct acpi_reg r, uint8_t type)
{
	if (r.space != ACPI_SPACE_IO)
		return;
	uint16_t port = (uint16_t)r.addr;
	unsigned v = inw(port) & ~PM1_SLP_TYP_MASK;

	outw(port, (uint16_t)(v | (unsigned)type << PM1_SLP_TYP_SHIFT | PM1_SLP_EN));
}

/* The machine takes a moment to go. */
static void wait(void)
{
	for (unsigned i = 0; i < 1000000; i++)
		inb(0x80);
}

void arch_poweroff(unsigned status)
{
	__asm__ volatile("cli");
	outb(POWER_DEBUG_EXIT_PORT, (uint8_t)status);

	if (acpi.s5_valid) {
		pm1_sleep(acpi.pm1a_cnt, acpi.s5_a);
		pm1_sleep(acpi.pm1b_cnt, acpi.s5_b);
		wait();
	}
	if (acpi.reset_valid && acpi.reset.space == ACPI_SPACE_IO) {
		outb((uint16_t)acpi.reset.addr, acpi.reset_value);
		wait();
	}
	for (unsigned i = 0; i < 100000 && (inb(KBC_STATUS) & KBC_INPUT_FULL); i++)
		cpu_relax();
	outb(KBC_STATUS, KBC_PULSE_RESET);
	for (;;)
		__asm__ volatile("hlt");
}
