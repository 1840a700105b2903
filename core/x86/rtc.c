/* SPDX-License-Identifier: MIT */
#include "core/x86/rtc.h"

#include <arch/cpu.h>

#include "core/lib.h"
#include "core/x86/tsc.h"

#define CMOS_INDEX 0x70
#define CMOS_DATA 0x71
#define CMOS_NMI_OFF 0x80
#define STATUS_A 0x0a
#define STATUS_B 0x0b
#define A_UPDATING 0x80

static uint8_t cmos(uint8_t reg)
{
	outb(CMOS_INDEX, CMOS_NMI_OFF | reg);
	return inb(CMOS_DATA);
}

static struct rtc_raw snapshot(void)
{
	for (unsigned i = 0; i < 100000 && (cmos(STATUS_A) & A_UPDATING); i++)
		cpu_relax();
	return (struct rtc_raw){cmos(0), cmos(2), cmos(4),	 cmos(7),
				cmos(8), cmos(9), cmos(STATUS_B)};
}

uint64_t rtc_read(void)
{
	struct rtc_raw a = snapshot(), b = snapshot();

	/* Two equal readings in a row: no update came in between. */
	for (unsigned i = 0; i < 100 && memcmp(&a, &b, sizeof(a)); i++) {
		a = b;
		b = snapshot();
	}
	outb(CMOS_INDEX, 0); /* NMIs back on */
	return rtc_decode(b);
}
