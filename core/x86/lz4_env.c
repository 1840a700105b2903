/* SPDX-License-Identifier: MIT */
/*
 * What the liblz4 archive's object refers to beside memcpy(), memmove() and memset(). The functions
 * used here take their state from the caller (memsvc/swap_lz4.c); those that would allocate it are
 * in the same object and are never called.
 */
#include <stddef.h>

#include "core/types.h"

NORETURN void __stack_chk_fail(void);
void *calloc(size_t n, size_t size);
void free(void *p);

void __stack_chk_fail(void)
{
	panic("liblz4 overran its stack frame");
}

void *calloc(size_t n, size_t size)
{
	panic("liblz4 asked for %zu bytes", n * size);
}

void free(void *p)
{
	panic("liblz4 freed %p", p);
}
