/* SPDX-License-Identifier: MIT */
/* vsnprintf, the few conversions used here. */
#include "rt/console.h"
#include <stdarg.h>

struct out {
	char *buf;
	size_t size, len;
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len++] = c;
}

static void number(struct out *o, uint64_t v, unsigned int base, bool neg, int width, char fill)
{
	char tmp[24];
	int n = 0;

	do {
		tmp[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (neg && fill == '0')
		put(o, '-');
	for (int i = n + neg; i < width; i++)
		put(o, fill);
	if (neg && fill != '0')
		put(o, '-');
	while (n)
		put(o, tmp[--n]);
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = {buf, size, 0};

	for (; *fmt; fmt++) {
		int width = 0;
		bool wide = false;
		char fill = ' ';

		if (*fmt != '%') {
			put(&o, *fmt);
			continue;
		}
		fmt++;
		if (*fmt == '0')
			fill = *fmt++;
		while (*fmt >= '0' && *fmt <= '9')
			width = width * 10 + *fmt++ - '0';
		while (*fmt == 'l' || *fmt == 'z')
			wide = true, fmt++;
		switch (*fmt) {
		case 'd':
		case 'i': {
			int64_t v = wide ? va_arg(ap, int64_t) : va_arg(ap, int);

			number(&o, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, v < 0, width, fill);
			break;
		}
		case 'u':
		case 'x': {
			uint64_t v = wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned int);

			number(&o, v, *fmt == 'u' ? 10 : 16, false, width, fill);
			break;
		}
		case 'p':
			number(&o, (uint64_t)va_arg(ap, void *), 16, false, 16, '0');
			break;
		case 'c':
			put(&o, (char)va_arg(ap, int));
			break;
		case 's': {
			const char *s = va_arg(ap, const char *);

			for (s = s ? s : "(null)"; *s; s++)
				put(&o, *s);
			break;
		}
		default:
			put(&o, *fmt);
		}
	}
	buf[o.len] = 0;
	return (int)o.len;
}
