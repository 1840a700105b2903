/* SPDX-License-Identifier: MIT */
#include "core/x86/rtc.h"
#include "core/x86/tsc.h"

#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define HOUR_PM 0x80

static unsigned num(uint8_t v, bool binary)
{
	return binary ? v : (v >> 4) * 10u + (v & 15);
}

uint64_t rtc_decode(struct rtc_raw r)
{
	bool binary = r.status_b & B_BINARY;
	unsigned hour = num(r.hour & (uint8_t)~HOUR_PM, binary);

	if (r.status_b & B_24_HOURS)
		hour = num(r.hour, binary);
	else
		hour = hour % 12 + (r.hour & HOUR_PM ? 12 : 0);
	return tsc_unix_time(2000 + num(r.year, binary), num(r.mon, binary), num(r.day, binary),
			     hour, num(r.min, binary), num(r.sec, binary));
}
