/* SPDX-License-Identifier: MIT */
/*
 * What the compiler calls before each access of instrumented code (the names are those of TSan's
 * library). A variant changes what one access, named by the address of its call, does.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress/litmus/engine.h"

#define SITE() ((uintptr_t)__builtin_return_address(0))
#define MAX_PLACES 64
#define MAX_SITES 4096

/*
 * relax:  without its memory order (a fence: left out)
 * weaken: acquire and release instead of sequential consistency
 * split:  a read-modify-write that is a load, then a store
 * skip:   the store, or the store of a read-modify-write, left out
 * again:  a load or read-modify-write that does not look: the value is what this thread last saw there
 * force:  a compare-and-swap that does not compare
 */
enum wrong { NOTHING, RELAX, WEAKEN, SPLIT, SKIP, AGAIN, FORCE };
static const char *const wrong_names[] = {"", "relax", "weaken", "split", "skip", "again", "force"};

enum kind { LOAD, STORE, RMW, CAS, FENCE };
static const char *const kind_names[] = {"load", "store", "rmw", "cas", "fence"};

static struct {
	enum wrong wrong;
	uintptr_t place[MAX_PLACES];
	unsigned n;
} variant;

static struct site {
	uintptr_t at;
	enum kind kind;
	int order;
} sites[MAX_SITES];
static unsigned nr_sites;
static bool listing;

uintptr_t hooks_site;

extern uint8_t litmus_stacks[];
extern const size_t litmus_stacks_size;

/* WRONG:ADDRESS,ADDRESS...: one statement may have been compiled more than once. */
bool hooks_variant(const char *text)
{
	size_t n = strcspn(text, ":");
	char *end;

	for (unsigned w = 1; w < ARRAY_SIZE(wrong_names); w++)
		if (strlen(wrong_names[w]) == n && !strncmp(text, wrong_names[w], n))
			variant.wrong = (enum wrong)w;
	if (!variant.wrong)
		return false;
	for (text += n; *text && variant.n < MAX_PLACES; text = end)
		variant.place[variant.n++] = strtoul(text + 1, &end, 16);
	return variant.n && !*text;
}

static enum wrong wrong_at(uintptr_t site)
{
	for (unsigned i = 0; i < variant.n; i++)
		if (variant.place[i] == site)
			return variant.wrong;
	return NOTHING;
}

/* The order that is left of it. */
static int left_of(int order, enum wrong w, int weaker)
{
	if (w == RELAX)
		return __ATOMIC_RELAXED;
	return w == WEAKEN ? weaker : order;
}

void hooks_list(bool on)
{
	listing = on;
}

static void note(uintptr_t at, enum kind kind, int order)
{
	hooks_site = at;
	if (!listing)
		return;
	for (unsigned i = 0; i < nr_sites; i++)
		if (sites[i].at == at)
			return;
	if (nr_sites < MAX_SITES)
		sites[nr_sites++] = (struct site){at, kind, order};
}

void hooks_print_list(void)
{
	static const char *const orders[] = {"relaxed", "consume", "acquire",
					     "release", "acq_rel", "seq_cst"};

	for (unsigned i = 0; i < nr_sites; i++)
		printf("site 0x%lx %s %s\n", sites[i].at, kind_names[sites[i].kind],
		       orders[sites[i].order]);
}

/* The stacks and the thread-local data are nobody else's. */
static bool own(uintptr_t at)
{
	uintptr_t tls = (uintptr_t)__builtin_thread_pointer();

	return at - (uintptr_t)litmus_stacks < litmus_stacks_size || tls - at < 0x10000 ||
	       at - tls < 0x1000;
}

/* A write that is no thread's, by the checks at the end. */
static void outside(const volatile void *p, size_t size)
{
	if (litmus_undoable && !own((uintptr_t)p))
		mem_remember((uintptr_t)p, size);
}

static void plain(uintptr_t site, const void *p, size_t size, bool write)
{
	if (litmus_self < 0 && write)
		outside(p, size);
	if (litmus_self < 0 || own((uintptr_t)p))
		return;
	hooks_site = site;
	mem_plain((uintptr_t)p, size, write);
}

/* ---- plain accesses ---- */

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
	(void)pc;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

#define PLAIN(name, size, write)                   \
	void __tsan_##name(void *p);               \
	void __tsan_##name(void *p)                \
	{                                          \
		plain(SITE(), p, (size), (write)); \
	}
PLAIN(read1, 1, false)
PLAIN(read2, 2, false)
PLAIN(read4, 4, false)
PLAIN(read8, 8, false)
PLAIN(read16, 16, false)
PLAIN(write1, 1, true)
PLAIN(write2, 2, true)
PLAIN(write4, 4, true)
PLAIN(write8, 8, true)
PLAIN(write16, 16, true)
PLAIN(unaligned_read2, 2, false)
PLAIN(unaligned_read4, 4, false)
PLAIN(unaligned_read8, 8, false)
PLAIN(unaligned_read16, 16, false)
PLAIN(unaligned_write2, 2, true)
PLAIN(unaligned_write4, 4, true)
PLAIN(unaligned_write8, 8, true)
PLAIN(unaligned_write16, 16, true)

void __tsan_read_range(void *p, size_t size);
void __tsan_read_range(void *p, size_t size)
{
	plain(SITE(), p, size, false);
}

void __tsan_write_range(void *p, size_t size);
void __tsan_write_range(void *p, size_t size)
{
	plain(SITE(), p, size, true);
}

void *litmus_memmove(void *to, const void *from, size_t n);
void *litmus_memmove(void *to, const void *from, size_t n)
{
	plain(SITE(), from, n, false);
	plain(SITE(), to, n, true);
	return memmove(to, from, n);
}

void *litmus_memset(void *to, int c, size_t n);
void *litmus_memset(void *to, int c, size_t n)
{
	plain(SITE(), to, n, true);
	return memset(to, c, n);
}

/* ---- atomic accesses ---- */

static uint64_t do_load(uintptr_t site, const volatile void *p, unsigned size, int order)
{
	enum wrong w = wrong_at(site);
	uint64_t v = 0;

	if (litmus_self < 0) {
		memcpy(&v, (const void *)p, size);
		return v;
	}
	note(site, LOAD, order);
	if (w == AGAIN)
		return mem_again((uintptr_t)p, size);
	return mem_load((uintptr_t)p, size, left_of(order, w, __ATOMIC_ACQUIRE));
}

static void do_store(uintptr_t site, volatile void *p, unsigned size, uint64_t v, int order)
{
	enum wrong w = wrong_at(site);

	if (litmus_self < 0) {
		outside(p, size);
		memcpy((void *)p, &v, size);
		return;
	}
	note(site, STORE, order);
	if (w != SKIP)
		mem_store((uintptr_t)p, size, v, left_of(order, w, __ATOMIC_RELEASE));
}

static uint64_t plain_rmw(volatile void *p, unsigned size, enum rmw op, uint64_t v)
{
	uint64_t old = 0, new;

	outside(p, size);
	memcpy(&old, (const void *)p, size);
	new = rmw_applied(op, old, v);
	memcpy((void *)p, &new, size);
	return old;
}

static uint64_t do_rmw(uintptr_t site, volatile void *p, unsigned size, enum rmw op, uint64_t v,
		       int order)
{
	enum wrong w = wrong_at(site);
	uint64_t old;

	if (litmus_self < 0)
		return plain_rmw(p, size, op, v);
	note(site, RMW, order);
	order = left_of(order, w, __ATOMIC_ACQ_REL);
	if (w == AGAIN)
		return mem_again((uintptr_t)p, size);
	if (w == SKIP)
		return mem_load((uintptr_t)p, size, __ATOMIC_SEQ_CST);
	if (w != SPLIT)
		return mem_rmw((uintptr_t)p, size, op, v, order);
	old = mem_load((uintptr_t)p, size, __ATOMIC_SEQ_CST);
	engine_point();
	mem_rmw((uintptr_t)p, size, RMW_XCHG, rmw_applied(op, old, v), order);
	return old;
}

static bool do_cas(uintptr_t site, volatile void *p, unsigned size, uint64_t *expected, uint64_t v,
		   int order, int fail)
{
	enum wrong w = wrong_at(site);
	uint64_t old = 0;

	if (litmus_self < 0) {
		memcpy(&old, (const void *)p, size);
		if (memcmp(&old, expected, size) != 0) {
			*expected = old;
			return false;
		}
		outside(p, size);
		memcpy((void *)p, &v, size);
		return true;
	}
	note(site, CAS, order);
	order = left_of(order, w, __ATOMIC_ACQ_REL);
	fail = left_of(fail, w, __ATOMIC_ACQUIRE);
	if (w == FORCE) {
		mem_rmw((uintptr_t)p, size, RMW_XCHG, v, order);
		return true;
	}
	if (w != SPLIT && w != SKIP)
		return mem_cas((uintptr_t)p, size, expected, v, order, fail);
	old = mem_load((uintptr_t)p, size, __ATOMIC_SEQ_CST);
	if (memcmp(&old, expected, size) != 0) {
		*expected = old;
		return false;
	}
	if (w == SPLIT) {
		engine_point();
		mem_rmw((uintptr_t)p, size, RMW_XCHG, v, order);
	}
	return true;
}

#define ATOMIC_RMW(bits, type, name, op)                                                       \
	type __tsan_atomic##bits##_##name(volatile type *p, type v, int order);                \
	type __tsan_atomic##bits##_##name(volatile type *p, type v, int order)                 \
	{                                                                                      \
		return (type)do_rmw(SITE(), p, sizeof(type), (op), (uint64_t)v, order & 0xff); \
	}

#define ATOMIC_CAS(bits, type, name)                                                         \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *p, type *e, type v, \
							  int order, int fail);              \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *p, type *e, type v, \
							  int order, int fail)               \
	{                                                                                    \
		uint64_t old = (uint64_t)*e;                                                 \
		bool done = do_cas(SITE(), p, sizeof(type), &old, (uint64_t)v, order & 0xff, \
				   fail & 0xff);                                             \
                                                                                             \
		if (!done)                                                                   \
			*e = (type)old;                                                      \
		return done;                                                                 \
	}

#define ATOMICS(bits, type)                                                    \
	type __tsan_atomic##bits##_load(const volatile type *p, int order);    \
	type __tsan_atomic##bits##_load(const volatile type *p, int order)     \
	{                                                                      \
		return (type)do_load(SITE(), p, sizeof(type), order & 0xff);   \
	}                                                                      \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int order); \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int order)  \
	{                                                                      \
		do_store(SITE(), p, sizeof(type), (uint64_t)v, order & 0xff);  \
	}                                                                      \
	ATOMIC_RMW(bits, type, exchange, RMW_XCHG)                             \
	ATOMIC_RMW(bits, type, fetch_add, RMW_ADD)                             \
	ATOMIC_RMW(bits, type, fetch_sub, RMW_SUB)                             \
	ATOMIC_RMW(bits, type, fetch_and, RMW_AND)                             \
	ATOMIC_RMW(bits, type, fetch_or, RMW_OR)                               \
	ATOMIC_RMW(bits, type, fetch_xor, RMW_XOR)                             \
	ATOMIC_RMW(bits, type, fetch_nand, RMW_NAND)                           \
	ATOMIC_CAS(bits, type, strong)                                         \
	ATOMIC_CAS(bits, type, weak)

ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
	if (litmus_self < 0)
		return;
	note(SITE(), FENCE, order & 0xff);
	if (wrong_at(SITE()) != RELAX)
		mem_fence(order & 0xff);
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}
