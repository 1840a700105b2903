/* SPDX-License-Identifier: MIT */
/* The clock to calibrate against: ACPI PM timer, else HPET, else PIT channel 2. */
#ifndef CORE_X86_REFCLOCK_H
#define CORE_X86_REFCLOCK_H

#include "core/types.h"

/* A counter of known frequency. */
struct refclock {
	const char *name;
	uint64_t hz;
	uint64_t mask; /* it wraps after this value; a power of two minus 1 */
	uint64_t (*read)(void);
};

/** refclock_find() - start and return the best clock that counts. After acpi_init(). */
struct refclock refclock_find(void);

#endif
