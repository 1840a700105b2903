/* SPDX-License-Identifier: MIT */
/* The hypervisor's own string functions and formatter, against libc's. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define memcpy x_memcpy
#define memmove x_memmove
#define memset x_memset
#define memcmp x_memcmp
#define memchr x_memchr
#define strlen x_strlen
#define strnlen x_strnlen
#define strcmp x_strcmp
#define strncmp x_strncmp
#define strchr x_strchr
#define strrchr x_strrchr
#define strstr x_strstr
#define strncpy x_strncpy
#include "core/lib_impl.h"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr
#undef strstr
#undef strncpy

#include "core/fmt.h"
#include "core/lib.h"

#include <criterion/criterion.h>

static unsigned rng = 1;

static unsigned draw(unsigned n)
{
	rng = rng * 1664525u + 1013904223u;
	return (rng >> 8) % n;
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)draw(256);
}

Test(percpu_lib, copies)
{
	uint8_t a[700], b[700], want[700];

	for (unsigned round = 0; round < 30000; round++) {
		size_t n = round % 4 ? draw(40) : draw(300);
		size_t from = draw(300), to = draw(300);

		fill(a, sizeof(a));
		fill(b, sizeof(b));
		memcpy(want, b, sizeof(b));
		memcpy(want + to, a + from, n);
		cr_assert_eq((void *)x_memcpy(b + to, a + from, n), b + to);
		cr_assert_eq(memcmp(b, want, sizeof(b)), 0, "memcpy %zu", n);

		memcpy(want, a, sizeof(a));
		memmove(want + to, want + from, n);
		x_memmove(a + to, a + from, n);
		cr_assert_eq(memcmp(a, want, sizeof(a)), 0, "memmove %zu from %zu to %zu", n, from,
			     to);

		memset(want + to, (int)round, n);
		x_memset(a + to, (int)round, n);
		cr_assert_eq(memcmp(a, want, sizeof(a)), 0, "memset %zu", n);
	}
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

Test(percpu_lib, comparisons_and_searches)
{
	char a[40], b[40];

	for (unsigned round = 0; round < 100000; round++) {
		size_t la = draw(30), lb = draw(30), n = draw(32);
		int c = draw(4) ? 'a' + (int)draw(3) : 0;

		for (size_t i = 0; i < sizeof(a); i++) {
			a[i] = (char)('a' + draw(2));
			b[i] = draw(8) ? a[i] : (char)(draw(2) ? 'a' : '\xe4');
		}
		cr_assert_eq(sign(x_memcmp(a, b, n)), sign(memcmp(a, b, n)));
		cr_assert_eq(x_memchr(b, 0xe4, n), memchr(b, 0xe4, n));
		a[la] = b[lb] = '\0';
		cr_assert_eq(sign(x_strcmp(a, b)), sign(strcmp(a, b)));
		cr_assert_eq(sign(x_strncmp(a, b, n)), sign(strncmp(a, b, n)));
		cr_assert_eq(x_strlen(a), strlen(a));
		cr_assert_eq(x_strnlen(a, n), strnlen(a, n));
		cr_assert_eq(x_strchr(a, c), strchr(a, c));
		cr_assert_eq(x_strrchr(a, c), strrchr(a, c));
		b[MIN(lb, 3u)] = '\0';
		cr_assert_eq(x_strstr(a, b), strstr(a, b));
	}
}

Test(percpu_lib, bounded_copies)
{
	char x[16], y[16];

	for (unsigned len = 0; len < 12; len++) {
		for (unsigned n = 0; n < 12; n++) {
			const char *src = "abcdefghijkl" + 12 - len;

			memset(x, '#', sizeof(x));
			memset(y, '#', sizeof(y));
			x_strncpy(x, src, n);
			for (unsigned i = 0; i < n; i++)
				y[i] = i < len ? src[i] : '\0';
			cr_assert_eq(memcmp(x, y, sizeof(x)), 0);

			memset(x, '#', sizeof(x));
			cr_assert_eq(str_copy(x, src, n), len);
			if (n) {
				cr_assert_eq(strlen(x), MIN(len, n - 1));
				cr_assert_eq(strncmp(x, src, MIN(len, n - 1)), 0);
			}
			cr_assert_eq(x[n], '#');
		}
	}
}

Test(percpu_lib, numbers_in_text)
{
	static const char *const bad[] = {"",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "0x1",
					  "12a",
					  "a",
					  "18446744073709551616",
					  "99999999999999999999999"};
	char text[32];
	const char *s = "17:4";
	uint64_t v;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_not(str_decimal(bad[i], &v), "'%s'", bad[i]);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t want = (uint64_t)LONG_MAX >> draw(64);

		snprintf(text, sizeof(text), "%s%lu", draw(2) ? "" : "00", (unsigned long)want);
		cr_assert(str_decimal(text, &v) && v == want, "'%s'", text);
	}
	cr_assert(str_u64(&s, &v) && v == 17 && *s == ':');
	cr_assert(!str_u64(&s, &v) && *s == ':');
}

/* Random conversions, both formatters, every buffer size around the length. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-truncation"

static void same(const char *f, const char *what, int got, const char *g, int want, const char *w)
{
	cr_assert_eq(got, want, "%s of %s: length %d, not %d", f, what, got, want);
	cr_assert_str_eq(g, w, "%s of %s: \"%s\", not \"%s\"", f, what, g, w);
}

Test(percpu_fmt, numbers_as_libc)
{
	static const char *lengths[] = {"hh", "h", "", "l", "ll", "z", "j"};
	static const uint64_t values[] = {
		0,	 1,	   9,	     10,       255,	  256,	    INT_MAX,
		INT_MIN, UINT_MAX, LONG_MAX, LONG_MIN, ULONG_MAX, 12345678, 0xdeadbeefcafe};
	char f[32], g[128], w[128];

	for (unsigned round = 0; round < 100000; round++) {
		size_t n = 0;
		uint64_t v = draw(3) ? values[draw(ARRAY_SIZE(values))]
				     : (uint64_t)draw(1u << 24) << draw(40);
		const char *len = lengths[draw(ARRAY_SIZE(lengths))];
		size_t size = draw(4) ? sizeof(g) : 1 + draw(20);
		char conv = "diuxXo"[draw(6)];
		int got, want;

		f[n++] = '%';
		if (conv == 'd' || conv == 'i')
			for (unsigned i = draw(3); i; i--)
				f[n++] = "-0+ "[draw(4)];
		else
			for (unsigned i = draw(3); i; i--)
				f[n++] = "-0#"[draw(3)];
		if (draw(2))
			n += (size_t)sprintf(f + n, "%u", 1 + draw(24));
		if (!draw(3))
			n += (size_t)sprintf(f + n, ".%u", draw(22));
		sprintf(f + n, "%s%c|", len, conv);
		if (strlen(len) && *len != 'h') {
			got = fmt_snprintf(g, size, f, v);
			want = snprintf(w, size, f, v);
		} else {
			got = fmt_snprintf(g, size, f, (unsigned)v);
			want = snprintf(w, size, f, (unsigned)v);
		}
		sprintf(f + strlen(f), " (%lx)", v);
		same(f, "a number", got, g, want, w);
	}
}

Test(percpu_fmt, text_as_libc)
{
	static const char *formats[] = {"%s",	 "%10s",     "%-10s|", "%.3s",
					"%8.2s", "%-8.20s|", "%.0s"};
	static const char *texts[] = {"", "a", "hello", "a longer piece of text"};
	char g[64], w[64];
	char *volatile none = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(texts); k++)
			for (size_t size = 1; size < 32; size += 5)
				same(formats[i], texts[k],
				     fmt_snprintf(g, size, formats[i], texts[k]), g,
				     snprintf(w, size, formats[i], texts[k]), w);
	same("stars", "*", fmt_snprintf(g, 64, "%*d|%-*d|%.*s|%c%%", 5, 42, -6, 7, 2, "xyz", 'q'),
	     g, snprintf(w, 64, "%*d|%-*d|%.*s|%c%%", 5, 42, -6, 7, 2, "xyz", 'q'), w);
	same("pointer", "p", fmt_snprintf(g, 64, "%p", (void *)0x1234), g,
	     snprintf(w, 64, "%p", (void *)0x1234), w);
	cr_expect_eq(fmt_snprintf(NULL, 0, "%d", 12345), 5);
	fmt_snprintf(g, 64, "%s", none);
	cr_expect_str_eq(g, "(null)");
}
