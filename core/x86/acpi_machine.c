/* SPDX-License-Identifier: MIT */
/* The machine's ACPI tables, through the direct map of the first 4 GiB. */
#include <arch/cpu.h>
#include <arch/mem.h>

#include "core/x86/acpi.h"

struct acpi_info acpi;

static const void *map_direct(uint64_t phys, size_t len)
{
	if (phys >= 1ULL << 32 || len > (1ULL << 32) - phys)
		return NULL;
	return (const void *)(DIRECTMAP_VIRT + phys);
}

void acpi_init(void)
{
	if (acpi_parse(&acpi, map_direct) != 0) {
		uint32_t r[4];

		cpuid_raw(1, 0, r);
		acpi.cpu_count = 1;
		acpi.apic_id[0] = r[1] >> 24;
	}
	if (!acpi.lapic_phys)
		acpi.lapic_phys = 0xfee00000;
}
