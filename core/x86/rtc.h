/* SPDX-License-Identifier: MIT */
/* The CMOS real-time clock: the wall-clock time at boot, to the second. */
#ifndef CORE_X86_RTC_H
#define CORE_X86_RTC_H

#include "core/types.h"

/** rtc_read() - seconds since the epoch, the RTC taken as UTC. Waits out an update (< 2 ms). */
uint64_t rtc_read(void);

/* Raw registers, in the order of rtc_decode(). */
struct rtc_raw {
	uint8_t sec, min, hour, day, mon, year, status_b;
};

/** rtc_decode() - registers to seconds: BCD or binary, 12 or 24 hours; years 2000 to 2099. Pure. */
uint64_t rtc_decode(struct rtc_raw r);

#endif
