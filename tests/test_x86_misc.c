/* SPDX-License-Identifier: MIT */
/* Small pure parts: time arithmetic, the RTC's encodings, symbol lookup. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/x86/ksyms.h"
#include "core/x86/rtc.h"
#include "core/x86/smp.h"
#include "core/x86/tsc.h"

Test(x86_tsc, mul_div)
{
	cr_assert_eq(tsc_mul_div(10, 20, 3), 66);
	cr_assert_eq(tsc_mul_div(UINT64_MAX, 1000000000, 1000000000), UINT64_MAX);
	cr_assert_eq(tsc_mul_div(UINT64_MAX, 3, 2), UINT64_MAX); /* saturates */
	cr_assert_eq(tsc_mul_div(1ULL << 63, 2, 1), UINT64_MAX);
	cr_assert_eq(tsc_mul_div(0, 5, 7), 0);
	/* A year in ns at 3 GHz. */
	cr_assert_eq(tsc_mul_div(31536000000000000ULL, 3000000000, 1000000000),
		     94608000000000000ULL);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t a = (uint64_t)random() << 31 | (uint64_t)random();
		uint64_t b = (uint64_t)random(), c = 1 + (uint64_t)random();
		unsigned __int128 want = (unsigned __int128)a * b / c;

		cr_assert_eq(tsc_mul_div(a, b, c), want > UINT64_MAX ? UINT64_MAX : (uint64_t)want);
	}
}

Test(x86_tsc, unix_time)
{
	for (time_t t = 0; t < 7258118400; t += 86399 * 5 + 11) { /* to the year 2200 */
		struct tm g;

		gmtime_r(&t, &g);
		cr_assert_eq(tsc_unix_time((unsigned)g.tm_year + 1900, (unsigned)g.tm_mon + 1,
					   (unsigned)g.tm_mday, (unsigned)g.tm_hour,
					   (unsigned)g.tm_min, (unsigned)g.tm_sec),
			     (uint64_t)t);
	}
}

Test(x86_rtc, encodings)
{
	uint64_t noon = tsc_unix_time(2026, 11, 21, 12, 34, 56);
	uint64_t night = tsc_unix_time(2026, 11, 21, 0, 34, 56);

	/* sec, min, hour, day, mon, year, status B */
	cr_assert_eq(rtc_decode((struct rtc_raw){0x56, 0x34, 0x12, 0x21, 0x11, 0x26, 2}), noon);
	cr_assert_eq(rtc_decode((struct rtc_raw){56, 34, 12, 21, 11, 26, 6}), noon);
	cr_assert_eq(rtc_decode((struct rtc_raw){0x56, 0x34, 0x92, 0x21, 0x11, 0x26, 0}), noon);
	cr_assert_eq(rtc_decode((struct rtc_raw){56, 34, 0x8c, 21, 11, 26, 4}), noon);
	cr_assert_eq(rtc_decode((struct rtc_raw){0x56, 0x34, 0x12, 0x21, 0x11, 0x26, 0}), night);
	cr_assert_eq(rtc_decode((struct rtc_raw){0x56, 0x34, 0x00, 0x21, 0x11, 0x26, 2}), night);
}

Test(x86_smp, init_delay)
{
	const uint32_t hypervisor = 1u << 31;

	cr_assert_not(smp_needs_init_delay("AuthenticAMD", 0x663, hypervisor)); /* QEMU */
	cr_assert_not(smp_needs_init_delay("GenuineIntel", 0x906ea, 0));
	cr_assert(smp_needs_init_delay("GenuineIntel", 0xf43, 0));	  /* Pentium 4 */
	cr_assert(smp_needs_init_delay("AuthenticAMD", 0x683, 0));	  /* K7 */
	cr_assert_not(smp_needs_init_delay("AuthenticAMD", 0xf4a, 0));	  /* K8 */
	cr_assert_not(smp_needs_init_delay("AuthenticAMD", 0xa20f10, 0)); /* Zen 3 */
	cr_assert(smp_needs_init_delay("CentaurHauls", 0x6fa, 0));
}

Test(x86_ksyms, find)
{
	static const uint32_t addrs[] = {0x100, 0x180, 0x200, 0x2000};
	static const uint32_t names_off[] = {0, 2, 4, 6};
	struct ksyms t = {0xffff82d040000000, 4, addrs, names_off, "a\0b\0c\0d"};
	uint64_t off;

	cr_assert_str_eq(ksyms_find(&t, t.base + 0x100, &off), "a");
	cr_assert_eq(off, 0);
	cr_assert_str_eq(ksyms_find(&t, t.base + 0x17f, &off), "a");
	cr_assert_eq(off, 0x7f);
	cr_assert_str_eq(ksyms_find(&t, t.base + 0x180, &off), "b");
	cr_assert_str_eq(ksyms_find(&t, t.base + 0x1fff, &off), "c");
	cr_assert_str_eq(ksyms_find(&t, t.base + 0x2345, &off), "d");
	cr_assert_eq(off, 0x345);
	cr_assert_null(ksyms_find(&t, t.base + 0xff, &off));
	cr_assert_null(ksyms_find(&t, t.base - 1, &off));
	cr_assert_null(ksyms_find(&t, t.base + 0x2000 + (2 << 20), &off));
	cr_assert_null(ksyms_find(&t, 0, &off));
	t.count = 0;
	cr_assert_null(ksyms_find(&t, t.base + 0x100, &off));
}
