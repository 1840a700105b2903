/* SPDX-License-Identifier: MIT */
/*
 * The few facts Xylem takes from ACPI: which CPUs there are, where the APICs are, a clock to
 * calibrate against, and how to switch off. Parsing is pure: all memory goes through a map
 * callback, every length is checked before it is used, a table with a bad checksum is skipped.
 * ACPI 6.4, chapters 5.2 (tables), 7.4.2 (sleep states), and AML 20.2 for \_S5.
 */
#ifndef CORE_X86_ACPI_H
#define CORE_X86_ACPI_H

#include "core/types.h"

#define ACPI_MAX_IOAPICS 16
#define ACPI_MAX_TABLES 256

/* A Generic Address Structure, reduced to the two spaces we use. */
enum acpi_space { ACPI_SPACE_NONE, ACPI_SPACE_MEM, ACPI_SPACE_IO };
struct acpi_reg {
	enum acpi_space space;
	uint64_t addr;
};

struct acpi_info {
	uint64_t lapic_phys;   /* xAPIC MMIO base */
	unsigned cpu_count;    /* usable CPUs, in MADT order, duplicates dropped */
	unsigned cpus_dropped; /* usable, but more than MAX_PCPUS */
	uint32_t apic_id[MAX_PCPUS];
	unsigned ioapic_count;
	uint64_t ioapic_phys[ACPI_MAX_IOAPICS];

	struct acpi_reg pm_timer; /* 3.579545 MHz counter */
	bool pm_timer_32;	  /* 32 bits wide, else 24 */
	uint64_t hpet_phys;	  /* 0: none */

	struct acpi_reg pm1a_cnt, pm1b_cnt;
	bool s5_valid;
	uint8_t s5_a, s5_b; /* SLP_TYP values */
	struct acpi_reg reset;
	bool reset_valid;
	uint8_t reset_value;
	unsigned bad_tables; /* skipped for their checksum or length */
};

/**
 * typedef acpi_map_t - make [@phys, @phys + @len) readable; NULL when it can't be. The mapping
 * stays valid until acpi_parse() has returned.
 */
typedef const void *(*acpi_map_t)(uint64_t phys, size_t len);

/**
 * acpi_parse() - fill @info. Returns 0, or -1 when there is no usable RSDP, root table or MADT
 * (then @info has no CPUs but may hold the rest). Pure; any context.
 */
int acpi_parse(struct acpi_info *info, acpi_map_t map);

/** acpi_parse_at() - the same with the RSDP's physical address given. */
int acpi_parse_at(struct acpi_info *info, acpi_map_t map, uint64_t rsdp);

/* The machine's, filled by acpi_init(). */
extern struct acpi_info acpi;

/**
 * acpi_init() - parse the machine's tables through the direct map. Without a MADT, falls back to
 * one CPU (this one) and the architectural xAPIC address. Once, on the BSP.
 */
void acpi_init(void);

#endif
