/* SPDX-License-Identifier: MIT */
/* Memory and string functions for the freestanding build; a hosted one has libc's. */
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
