/* SPDX-License-Identifier: MIT */
/* Basic types shared by every part: opaque frame numbers, compiler helpers, assertions. */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define CACHE_LINE 64
#define MAX_PCPUS 255
#define MAX_VCPUS 128 /* per domain */
#define MAX_DOMAINS 2048

#define NS_PER_SEC 1000000000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_US 1000ULL
#define TIME_NEVER UINT64_MAX

/* A machine frame: real memory. Never shown to an ordinary domain. */
typedef struct {
	uint64_t v;
} mfn_t;

/* A frame number as a guest sees it: a name, resolved by that domain's P2M. */
typedef struct {
	uint64_t v;
} gfn_t;

#define MFN(x) ((mfn_t){(uint64_t)(x)})
#define GFN(x) ((gfn_t){(uint64_t)(x)})
#define INVALID_MFN MFN(UINT64_MAX)
#define INVALID_GFN GFN(UINT64_MAX)

static inline bool mfn_valid_value(mfn_t m)
{
	return m.v != UINT64_MAX;
}

static inline bool gfn_valid_value(gfn_t g)
{
	return g.v != UINT64_MAX;
}

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#ifndef container_of
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#endif
#define ALIGNED(n) __attribute__((aligned(n)))
#define CACHE_ALIGNED ALIGNED(CACHE_LINE)
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define NORETURN __attribute__((noreturn))

#define ROUND_UP(x, a) (((x) + (a)-1) / (a) * (a))
#define DIV_ROUND_UP(x, a) (((x) + (a)-1) / (a))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/**
 * panic() - stop every pCPU after printing CPU, registers and a backtrace (host: abort()).
 * Any context. Never returns.
 */
NORETURN void panic(const char *fmt, ...) PRINTF(1, 2);

#define BUG_ON(cond)                                                          \
	do {                                                                  \
		if (unlikely(cond))                                           \
			panic("BUG: %s at %s:%d", #cond, __FILE__, __LINE__); \
	} while (0)
#define BUG() panic("BUG at %s:%d", __FILE__, __LINE__)

#endif
