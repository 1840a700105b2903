/* SPDX-License-Identifier: MIT */
#include "core/x86/refclock.h"

#include <arch/cpu.h>

#include "core/x86/acpi.h"
#include "core/x86/paging.h"

#define PM_TIMER_HZ 3579545
#define PIT_HZ 1193182
#define PIT_CH2 0x42
#define PIT_COMMAND 0x43
#define PIT_GATE 0x61

#define HPET_ID 0x00
#define HPET_CONFIG 0x10
#define HPET_COUNTER 0xf0
#define HPET_ENABLE 1
#define FS_PER_SEC 1000000000000000ULL
#define HPET_MAX_PERIOD_FS 100000000u

static volatile uint32_t *hpet;

static uint64_t pm_read(void)
{
	return inl((uint16_t)acpi.pm_timer.addr);
}

static uint64_t hpet_read(void)
{
	return hpet[HPET_COUNTER / 4];
}

/* Channel 2 counts down from 2^16 - 1; turned into a count upwards. */
static uint64_t pit_read(void)
{
	outb(PIT_COMMAND, 0x80); /* latch channel 2 */
	unsigned lo = inb(PIT_CH2);

	return 0xffff - (lo | (unsigned)inb(PIT_CH2) << 8);
}

static void pit_start(void)
{
	outb(PIT_GATE, (inb(PIT_GATE) & ~2) | 1); /* gate on, speaker off */
	outb(PIT_COMMAND, 0xb0);		  /* channel 2, low then high byte, mode 0 */
	outb(PIT_CH2, 0xff);
	outb(PIT_CH2, 0xff);
}

static bool counts(uint64_t (*read)(void))
{
	uint64_t start = read();

	for (unsigned i = 0; i < 100000; i++) {
		if (read() != start)
			return true;
	}
	return false;
}

struct refclock refclock_find(void)
{
	if (acpi.pm_timer.space == ACPI_SPACE_IO && counts(pm_read))
		return (struct refclock){"PM timer", PM_TIMER_HZ,
					 acpi.pm_timer_32 ? UINT32_MAX : 0xffffff, pm_read};
	if (acpi.hpet_phys) {
		hpet = arch_map_mmio(acpi.hpet_phys, 0x400);
		uint32_t period = hpet[HPET_ID / 4 + 1];

		hpet[HPET_CONFIG / 4] |= HPET_ENABLE;
		if (period && period <= HPET_MAX_PERIOD_FS && counts(hpet_read))
			return (struct refclock){"HPET", FS_PER_SEC / period, UINT32_MAX,
						 hpet_read};
	}
	pit_start();
	if (!counts(pit_read))
		panic("no clock to calibrate the TSC against: PM timer, HPET and PIT stand still");
	return (struct refclock){"PIT", PIT_HZ, 0xffff, pit_read};
}
