/* SPDX-License-Identifier: MIT */
/* The part of <string.h> that the hypervisor has (the host build takes libc's), and numbers in text. */
#ifndef CORE_LIB_H
#define CORE_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if __STDC_HOSTED__
#include <string.h>
#else
void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *hay, const char *needle);
char *strncpy(char *dst, const char *src, size_t n);
#endif

/** str_copy() - copy with truncation; always terminates when @size > 0. Returns strlen(src). */
size_t str_copy(char *dst, const char *src, size_t size);

/** str_u64() - the decimal number at *@s, which moves behind it; false if there is none or it is too
 * large. */
bool str_u64(const char **s, uint64_t *v);

/** str_decimal() - whether all of @s is one decimal number, put into *@v. */
bool str_decimal(const char *s, uint64_t *v);

#endif
