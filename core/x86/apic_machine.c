/* SPDX-License-Identifier: MIT */
/* Bring-up of the machine's interrupt controllers: everything but the local APICs is silenced. */
#include <arch/cpu.h>

#include "core/arch.h"
#include "core/x86/acpi.h"
#include "core/x86/apic.h"
#include "core/x86/paging.h"
#include "core/x86/smp.h"

#define PIC1 0x20
#define PIC2 0xa0
#define PIC_VECTORS 0x20 /* if a masked PIC raises a spurious interrupt, it is not an exception */

#define IOAPIC_REGS 0x20
#define IOAPIC_SELECT (0x00 / 4)
#define IOAPIC_WINDOW (0x10 / 4)
#define IOAPIC_VERSION 1
#define IOAPIC_ENTRY(n) (0x10 + 2 * (n))
#define IOAPIC_MASKED (1u << 16)

struct apic_hw apic_hw = {.rdmsr = rdmsr, .wrmsr = wrmsr};

static uint32_t cpuid1_ecx(void)
{
	uint32_t r[4];

	cpuid_raw(1, 0, r);
	return r[2];
}

bool cpu_has_x2apic(void)
{
	return cpuid1_ecx() & (1u << 21);
}

bool cpu_has_tsc_deadline(void)
{
	return cpuid1_ecx() & (1u << 24);
}

static void pic_silence(void)
{
	outb(PIC1, 0x11); /* ICW1: edge, cascade, ICW4 follows */
	outb(PIC2, 0x11);
	outb(PIC1 + 1, PIC_VECTORS);
	outb(PIC2 + 1, PIC_VECTORS + 8);
	outb(PIC1 + 1, 4);
	outb(PIC2 + 1, 2);
	outb(PIC1 + 1, 1); /* ICW4: 8086 mode */
	outb(PIC2 + 1, 1);
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

static void ioapic_silence(uint64_t phys)
{
	volatile uint32_t *io = arch_map_mmio(phys, IOAPIC_REGS);

	io[IOAPIC_SELECT] = IOAPIC_VERSION;
	unsigned last = io[IOAPIC_WINDOW] >> 16 & 0xff;

	for (unsigned i = 0; i <= last; i++) {
		io[IOAPIC_SELECT] = IOAPIC_ENTRY(i);
		io[IOAPIC_WINDOW] = IOAPIC_MASKED;
	}
}

void apic_init(void)
{
	pic_silence();
	for (unsigned i = 0; i < acpi.ioapic_count; i++)
		ioapic_silence(acpi.ioapic_phys[i]);

	if (cpu_has_x2apic()) {
		apic = &x2apic_ops;
	} else {
		apic_hw.mmio = arch_map_mmio(acpi.lapic_phys, PAGE_SIZE);
		apic = &xapic_ops;
	}
	apic_init_cpu();
}

void arch_kick(unsigned cpu)
{
	apic_send_ipi(smp_apic_id[cpu], VEC_KICK);
}
