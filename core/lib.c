/* SPDX-License-Identifier: MIT */
/* Memory and string functions (a hosted build has libc's), and numbers in text. */
#include "core/lib.h"

#if !__STDC_HOSTED__
#include "core/lib_impl.h"
#endif

size_t str_copy(char *dst, const char *src, size_t size)
{
	size_t n = 0;

	while (src[n]) {
		if (n + 1 < size)
			dst[n] = src[n];
		n++;
	}
	if (size)
		dst[n < size ? n : size - 1] = '\0';
	return n;
}

bool str_u64(const char **s, uint64_t *v)
{
	const char *p = *s;
	uint64_t n = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (n > (UINT64_MAX - 9) / 10)
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
	}
	*s = p;
	*v = n;
	return true;
}

bool str_decimal(const char *s, uint64_t *v)
{
	return str_u64(&s, v) && !*s;
}
