/* SPDX-License-Identifier: MIT */
/*
 * The bodies of the memory and string functions; included once, by core/lib.c in the freestanding
 * build, and by a test under other names. The compiler itself emits calls to the first four, so no
 * loop in them may be turned back into such a call.
 */
#ifndef CORE_LIB_IMPL_H
#define CORE_LIB_IMPL_H

#include <stddef.h>
#include <stdint.h>

#define NO_LIBCALL __attribute__((optimize("no-tree-loop-distribute-patterns")))

typedef uint64_t __attribute__((may_alias, aligned(1))) u64u;
typedef uint32_t __attribute__((may_alias, aligned(1))) u32u;
typedef uint16_t __attribute__((may_alias, aligned(1))) u16u;

/* Short lengths: two overlapping accesses instead of a loop. All loads come before the stores. */
static inline void copy_short(uint8_t *d, const uint8_t *s, size_t n)
{
	if (n >= 8) {
		uint64_t a = *(const u64u *)s, b = *(const u64u *)(s + n - 8);

		*(u64u *)d = a;
		*(u64u *)(d + n - 8) = b;
	} else if (n >= 4) {
		uint32_t a = *(const u32u *)s, b = *(const u32u *)(s + n - 4);

		*(u32u *)d = a;
		*(u32u *)(d + n - 4) = b;
	} else if (n >= 2) {
		uint16_t a = *(const u16u *)s, b = *(const u16u *)(s + n - 2);

		*(u16u *)d = a;
		*(u16u *)(d + n - 2) = b;
	} else if (n) {
		*d = *s;
	}
}

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;
	const void *s = src;
	size_t q = n / 8;

	if (n <= 16) {
		copy_short(dst, src, n);
		return dst;
	}
	__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(q)::"memory");
	copy_short(d, s, n % 8);
	return dst;
}

NO_LIBCALL void *memmove(void *dst, const void *src, size_t n)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	if (n <= 16) {
		copy_short(d, s, n);
		return dst;
	}
	if ((uintptr_t)d - (uintptr_t)s >= n)
		return memcpy(dst, src, n); /* also right for d < s: it copies upwards */
	while (n >= 8) {
		n -= 8;
		*(u64u *)(d + n) = *(const u64u *)(s + n);
	}
	while (n--)
		d[n] = s[n];
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	uint64_t v = (uint8_t)c * 0x0101010101010101ULL;
	uint8_t *d = dst;
	size_t q = n / 8;
	void *p = dst;

	if (n >= 8) {
		if (q > 2) {
			__asm__ volatile("rep stosq" : "+D"(p), "+c"(q) : "a"(v) : "memory");
		} else {
			*(u64u *)d = v;
			*(u64u *)(d + (q - 1) * 8) = v;
		}
		*(u64u *)(d + n - 8) = v;
	} else if (n >= 4) {
		*(u32u *)d = (uint32_t)v;
		*(u32u *)(d + n - 4) = (uint32_t)v;
	} else if (n) {
		d[0] = (uint8_t)v;
		d[n / 2] = (uint8_t)v;
		d[n - 1] = (uint8_t)v;
	}
	return dst;
}

NO_LIBCALL int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	while (n >= 8 && *(const u64u *)x == *(const u64u *)y) {
		x += 8;
		y += 8;
		n -= 8;
	}
	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	const uint8_t *p = s;

	for (; n; n--, p++)
		if (*p == (uint8_t)c)
			return (void *)p;
	return NULL;
}

NO_LIBCALL size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; n--) {
		a++;
		b++;
	}
	return n ? (uint8_t)*a - (uint8_t)*b : 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)s;
		if (!*s)
			return NULL;
	}
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	for (;; s++) {
		if (*s == (char)c)
			last = s;
		if (!*s)
			return (char *)last;
	}
}

char *strstr(const char *hay, const char *needle)
{
	size_t n = strlen(needle);

	for (;; hay++) {
		if (!strncmp(hay, needle, n))
			return (char *)hay;
		if (!*hay)
			return NULL;
	}
}

char *strncpy(char *dst, const char *src, size_t n)
{
	size_t i = 0;

	for (; i < n && src[i]; i++)
		dst[i] = src[i];
	for (; i < n; i++)
		dst[i] = '\0';
	return dst;
}

#endif
