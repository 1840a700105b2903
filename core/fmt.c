/* SPDX-License-Identifier: MIT */
/* printf-style formatting without libc; see fmt.h for what is understood. */
#include "core/fmt.h"

#include "core/lib.h"

struct out {
	char *buf;
	size_t size, len; /* len counts what does not fit, too */
};

struct spec {
	bool left, zero, plus, space, alt, upper;
	int width, precision; /* precision -1: none */
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void pad(struct out *o, int n, char c)
{
	while (n-- > 0)
		put(o, c);
}

static void put_string(struct out *o, const struct spec *sp, const char *s)
{
	int n;

	if (!s)
		s = "(null)";
	n = (int)(sp->precision >= 0 ? strnlen(s, (size_t)sp->precision) : strlen(s));
	if (!sp->left)
		pad(o, sp->width - n, ' ');
	for (int i = 0; i < n; i++)
		put(o, s[i]);
	if (sp->left)
		pad(o, sp->width - n, ' ');
}

static void put_number(struct out *o, const struct spec *sp, uint64_t v, unsigned base, char sign)
{
	const char *digits = sp->upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char tmp[24];
	int n = 0, zeros, total;
	const char *prefix = "";

	if (sp->alt && v && base == 16)
		prefix = sp->upper ? "0X" : "0x";
	for (; v; v /= base)
		tmp[n++] = digits[v % base];
	zeros = sp->precision >= 0 ? sp->precision - n : (n == 0);
	if (zeros < 0)
		zeros = 0;
	if (sp->alt && base == 8 && !zeros)
		zeros = 1;
	total = n + zeros + (sign != 0) + (int)strlen(prefix);
	if (sp->zero && !sp->left && sp->precision < 0 && total < sp->width) {
		zeros += sp->width - total;
		total = sp->width;
	}
	if (!sp->left)
		pad(o, sp->width - total, ' ');
	if (sign)
		put(o, sign);
	while (*prefix)
		put(o, *prefix++);
	pad(o, zeros, '0');
	while (n)
		put(o, tmp[--n]);
	if (sp->left)
		pad(o, sp->width - total, ' ');
}

static const char *parse_flags(const char *f, struct spec *sp)
{
	for (;; f++) {
		switch (*f) {
		case '-':
			sp->left = true;
			break;
		case '0':
			sp->zero = true;
			break;
		case '+':
			sp->plus = true;
			break;
		case ' ':
			sp->space = true;
			break;
		case '#':
			sp->alt = true;
			break;
		default:
			return f;
		}
	}
}

static const char *parse_int(const char *f, int *v)
{
	for (*v = 0; *f >= '0' && *f <= '9'; f++)
		if (*v < 100000)
			*v = *v * 10 + (*f - '0');
	return f;
}

/* Length modifier as a size in bytes: 1 hh, 2 h, 4 none, 8 l, ll, z, t, j. */
static const char *parse_length(const char *f, unsigned *size)
{
	*size = 4;
	if (*f == 'h') {
		*size = f[1] == 'h' ? 1 : 2;
		return f + (*size == 1 ? 2 : 1);
	}
	if (*f == 'l') {
		*size = 8;
		return f + (f[1] == 'l' ? 2 : 1);
	}
	if (*f == 'z' || *f == 't' || *f == 'j') {
		*size = 8;
		return f + 1;
	}
	return f;
}

static uint64_t truncate_to(uint64_t v, unsigned size)
{
	return size == 8 ? v : v & ((1ULL << size * 8) - 1);
}

static int64_t sign_extend(uint64_t v, unsigned size)
{
	unsigned drop = 64 - size * 8;

	return (int64_t)(v << drop) >> drop;
}

int fmt_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = {buf, size, 0};

	for (const char *f = fmt; *f; f++) {
		struct spec sp = {.precision = -1};
		unsigned bytes;
		uint64_t v;
		char sign = 0;
		char one[2];

		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f = parse_flags(f + 1, &sp);
		if (*f == '*') {
			sp.width = va_arg(ap, int);
			if (sp.width < 0) {
				sp.left = true;
				sp.width = -sp.width;
			}
			f++;
		} else {
			f = parse_int(f, &sp.width);
		}
		if (*f == '.') {
			if (f[1] == '*') {
				sp.precision = va_arg(ap, int);
				f += 2;
			} else {
				f = parse_int(f + 1, &sp.precision);
			}
		}
		f = parse_length(f, &bytes);
		switch (*f) {
		case 'd':
		case 'i':
			v = bytes == 8 ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
			if (sign_extend(v, bytes) < 0) {
				sign = '-';
				v = -(uint64_t)sign_extend(v, bytes);
			} else {
				sign = sp.plus ? '+' : sp.space ? ' ' : 0;
				v = truncate_to(v, bytes);
			}
			put_number(&o, &sp, v, 10, sign);
			break;
		case 'X':
			sp.upper = true;
			/* fall through */
		case 'u':
		case 'x':
		case 'o':
			v = bytes == 8 ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
			put_number(&o, &sp, truncate_to(v, bytes),
				   *f == 'u'   ? 10
				   : *f == 'o' ? 8
					       : 16,
				   0);
			break;
		case 'p':
			sp.alt = true;
			put_number(&o, &sp, (uint64_t)va_arg(ap, void *), 16, 0);
			break;
		case 'c':
			one[0] = (char)va_arg(ap, int);
			one[1] = '\0';
			sp.precision = 1;
			if (one[0])
				put_string(&o, &sp, one);
			else
				put(&o, '\0');
			break;
		case 's':
			put_string(&o, &sp, va_arg(ap, const char *));
			break;
		case '%':
			put(&o, '%');
			break;
		default: /* unknown: the argument list can no longer be followed */
			put(&o, '%');
			while (*f)
				put(&o, *f++);
			goto out;
		}
	}
out:
	if (size)
		buf[o.len < size ? o.len : size - 1] = '\0';
	return (int)o.len;
}

int fmt_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = fmt_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}
