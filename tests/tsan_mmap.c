/* SPDX-License-Identifier: MIT */
/*
 * Lets Criterion run under ThreadSanitizer.
 *
 * Criterion's sandbox maps its arena with MAP_FIXED at a random address in
 * [0x200000000000, 0x7f0000000000); nearly all of that is TSan's own shadow,
 * so TSan refuses. Such requests are moved to the part of that window which
 * TSan leaves to applications; mincore(), with which the sandbox looks for a
 * free place first, tells it that the window is free.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#define WINDOW_LO 0x200000000000UL
#define WINDOW_HI 0x7f0000000000UL
#define APP_LO 0x7e8000000000UL
#define APP_MASK 0x7fffffffffUL

extern void *__interceptor_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);

static void *moved(void *addr, int flags)
{
	uintptr_t at = (uintptr_t)addr;
	int arena = (flags & MAP_FIXED) && at >= WINDOW_LO && at < APP_LO;

	return arena ? (void *)(APP_LO + (at & APP_MASK)) : addr;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return __interceptor_mmap(moved(addr, flags), len, prot, flags, fd, off);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return __interceptor_mmap(moved(addr, flags), len, prot, flags, fd, off);
}

int mincore(void *addr, size_t len, unsigned char *vec)
{
	(void)addr;
	(void)len;
	(void)vec;
	errno = ENOMEM;
	return -1;
}
