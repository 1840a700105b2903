/* SPDX-License-Identifier: MIT */
/*
 * Line transfers of an operation on 1 to 64 pCPUs, counted: one thread plays all pCPUs in turn, and
 * each line that the hypervisor's part touches is followed through the caches of a MESI machine whose
 * caches never run out of room.
 *
 * This program's copy of the core is compiled with the compiler's instrumentation for a race detector
 * and for coverage; the functions it calls are here instead of in a sanitizer's library, and the
 * program is linked with none. So every load, store and atomic operation is seen with its address, and
 * each basic block entered is counted.
 *
 * A transfer is a read of a line that another pCPU has written since we held it, or a write to a line
 * that another one holds. What is read by all and written by none costs nothing after the first
 * rounds. Not followed: stacks (one thread plays all) and what the scanner reads of a page. Turns are
 * whole operations, so a line that two pCPUs fight for within one operation counts once: transfers
 * are a lower bound where there are any, exact where there are none.
 */
#include "stress/scale_bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_NEAR (1UL << 20)
#define LINES (1u << 20)
#define MADE 4 /* units of each pCPU in which what is made at first use is made */
#define WARM 4 /* in which the caches get what they are to hold */
#define ROUNDS 8
#define HOT 6

extern const char __executable_start[];

struct line {
	uint64_t line;	  /* address / 64; 0: unused */
	uint64_t holders; /* caches that have it */
	uint64_t users;	  /* pCPUs to which it was transferred */
	uint64_t code;	  /* the last place that caused one */
	uint32_t transfers;
	uint8_t writer; /* the last, 1 + pCPU; 0: none */
};

static struct line *lines;
static unsigned nr_lines;

static struct {
	unsigned cpu;
	bool follow, measure;
	uint64_t blocks, accesses, transfers;
} st;

static struct line *line_of(uint64_t line)
{
	uint64_t at = line * 0x9e3779b97f4a7c15ULL >> 44;

	while (lines[at].line && lines[at].line != line)
		at = (at + 1) % LINES;
	if (!lines[at].line) {
		if (++nr_lines > LINES / 2)
			die("too many lines");
		lines[at].line = line;
	}
	return &lines[at];
}

static void touch(struct line *l, bool write, uint64_t code)
{
	uint64_t me = 1ULL << st.cpu;
	bool moved;

	if (write) {
		moved = l->holders & ~me;
		l->holders = me;
		l->writer = (uint8_t)(st.cpu + 1);
	} else {
		moved = !(l->holders & me) && l->writer && l->writer != st.cpu + 1;
		l->holders |= me;
	}
	if (moved && st.measure) {
		l->transfers++;
		l->users |= me;
		l->code = code;
		st.transfers++;
	}
}

static void access(const volatile void *p, size_t size, bool write, void *code)
{
	uint64_t at = (uint64_t)p, sp = (uint64_t)__builtin_frame_address(0);

	if (!st.follow || !size || at - (sp - STACK_NEAR) < 2 * STACK_NEAR)
		return;
	st.accesses++;
	for (uint64_t l = at / CACHE_LINE; l <= (at + size - 1) / CACHE_LINE; l++)
		touch(line_of(l), write, (uint64_t)code);
}

/* ---- what the instrumented code calls --------------------------------------------------------- */

#define CALLER __builtin_return_address(0)

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
	st.blocks += st.follow;
}

void __tsan_init(void);
void __tsan_init(void)
{
}

#define PLAIN(name, size, write)                \
	void name(void *p);                     \
	void name(void *p)                      \
	{                                       \
		access(p, size, write, CALLER); \
	}
#define PLAIN_SIZE(n)                             \
	PLAIN(__tsan_read##n, n, false)           \
	PLAIN(__tsan_write##n, n, true)           \
	PLAIN(__tsan_unaligned_read##n, n, false) \
	PLAIN(__tsan_unaligned_write##n, n, true) \
	PLAIN(__tsan_volatile_read##n, n, false)  \
	PLAIN(__tsan_volatile_write##n, n, true)
PLAIN_SIZE(1)
PLAIN_SIZE(2)
PLAIN_SIZE(4)
PLAIN_SIZE(8)
PLAIN_SIZE(16)

#define RANGE(name, write)                      \
	void name(void *p, unsigned long size); \
	void name(void *p, unsigned long size)  \
	{                                       \
		access(p, size, write, CALLER); \
	}
RANGE(__tsan_read_range, false)
RANGE(__tsan_write_range, true)

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
	(void)pc;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

/* The operations themselves; one thread, so the order asked for does not matter. */
#define ATOMIC_RMW(n, type, op)                                            \
	type __tsan_atomic##n##_##op(volatile type *p, type v, int order); \
	type __tsan_atomic##n##_##op(volatile type *p, type v, int order)  \
	{                                                                  \
		(void)order;                                               \
		access(p, n / 8, true, CALLER);                            \
		return __atomic_##op(p, v, __ATOMIC_SEQ_CST);              \
	}
#define ATOMIC_CAS(n, type, name)                                                \
	int name(volatile type *p, type *e, type v, int yes, int no);            \
	int name(volatile type *p, type *e, type v, int yes, int no)             \
	{                                                                        \
		(void)yes;                                                       \
		(void)no;                                                        \
		access(p, n / 8, true, CALLER);                                  \
		return __atomic_compare_exchange_n(p, e, v, 0, __ATOMIC_SEQ_CST, \
						   __ATOMIC_SEQ_CST);            \
	}
#define ATOMIC_SIZE(n, type)                                                   \
	type __tsan_atomic##n##_load(const volatile type *p, int order);       \
	type __tsan_atomic##n##_load(const volatile type *p, int order)        \
	{                                                                      \
		(void)order;                                                   \
		access(p, n / 8, false, CALLER);                               \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);                   \
	}                                                                      \
	void __tsan_atomic##n##_store(volatile type *p, type v, int order);    \
	void __tsan_atomic##n##_store(volatile type *p, type v, int order)     \
	{                                                                      \
		(void)order;                                                   \
		access(p, n / 8, true, CALLER);                                \
		__atomic_store_n(p, v, __ATOMIC_SEQ_CST);                      \
	}                                                                      \
	type __tsan_atomic##n##_exchange(volatile type *p, type v, int order); \
	type __tsan_atomic##n##_exchange(volatile type *p, type v, int order)  \
	{                                                                      \
		(void)order;                                                   \
		access(p, n / 8, true, CALLER);                                \
		return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);            \
	}                                                                      \
	ATOMIC_RMW(n, type, fetch_add)                                         \
	ATOMIC_RMW(n, type, fetch_sub)                                         \
	ATOMIC_RMW(n, type, fetch_and)                                         \
	ATOMIC_RMW(n, type, fetch_or)                                          \
	ATOMIC_RMW(n, type, fetch_xor)                                         \
	ATOMIC_CAS(n, type, __tsan_atomic##n##_compare_exchange_strong)        \
	ATOMIC_CAS(n, type, __tsan_atomic##n##_compare_exchange_weak)
ATOMIC_SIZE(8, uint8_t)
ATOMIC_SIZE(16, uint16_t)
ATOMIC_SIZE(32, uint32_t)
ATOMIC_SIZE(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
	(void)order;
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

/* Calls of these are redirected here by the linker. */
void *__real_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n)
{
	access(from, n, false, CALLER);
	access(to, n, true, CALLER);
	return __real_memcpy(to, from, n);
}

void *__real_memset(void *to, int c, size_t n);
void *__wrap_memset(void *to, int c, size_t n);
void *__wrap_memset(void *to, int c, size_t n)
{
	access(to, n, true, CALLER);
	return __real_memset(to, c, n);
}

static void unit(const struct scale_op *op, unsigned cpu, bool follow)
{
	host_become(cpu);
	st.cpu = cpu;
	for (const struct phase *ph = op->phase; ph->fn; ph++) {
		st.follow = ph->counted && follow;
		ph->fn(seat_of(cpu));
		st.follow = false;
	}
}

/* ---- one operation --------------------------------------------------------------------------- */

/* Numbers of lines. */
static int hotter(const void *a, const void *b)
{
	uint32_t x = lines[*(const unsigned *)a].transfers;
	uint32_t y = lines[*(const unsigned *)b].transfers;

	return (x < y) - (x > y);
}

static void report_hot(double ops)
{
	unsigned *hot = calloc(nr_lines + 1, sizeof(unsigned)), n = 0;

	if (!hot)
		die("no memory");
	for (unsigned i = 0; i < LINES; i++)
		if (lines[i].transfers)
			hot[n++] = i;
	qsort(hot, n, sizeof(unsigned), hotter);
	printf(",\"moving_lines\":%u,\"hot\":[", n);
	for (unsigned i = 0; i < n && i < HOT; i++) {
		const struct line *l = &lines[hot[i]];

		printf("%s{\"transfers\":%.4f,\"cpus\":%d,\"code\":%lu}", i ? "," : "",
		       l->transfers / ops, __builtin_popcountll(l->users),
		       l->code - (uint64_t)__executable_start);
	}
	printf("]");
	free(hot);
}

static void begin(unsigned seats, enum layout layout)
{
	world_machine(seats);
	host_sim_init(seats);
	host_clock_set(NS_PER_SEC);
	world_domains(layout);
	for (unsigned first = 0, tries = 0; first < seats; tries++) {
		if (tries > 20000)
			die("pCPU %u finds no vCPU to run", first);
		for (unsigned i = 0; i < seats; i++) {
			struct pcpu *p = pcpu_get(i);

			host_become(i);
			if (!p->current)
				p->work |= WORK_RESCHED;
			world_leave();
			if (p->current && !seat_of(i)->vcpu)
				world_seat();
			rcu_quiescent_state();
		}
		host_clock_advance(20 * NS_PER_US);
		for (first = 0; first < seats && seat_of(first)->vcpu;)
			first++;
	}
	host_sim_rcu_drain(); /* no timer of its is left to be in the way */
	for (unsigned i = 0; i < seats; i++) {
		host_become(i);
		world_leave();
		rcu_thread_offline();
	}
}

void lines_run(const struct scale_op *op, enum layout layout, unsigned seats)
{
	uint64_t most = 0, least = UINT64_MAX, total = 0;
	double ops;

	share_pages = 16;
	lines = calloc(LINES, sizeof(*lines));
	if (!lines)
		die("no memory");
	begin(seats, layout);
	for (unsigned r = 0; r < MADE + WARM + ROUNDS; r++) {
		st.measure = r >= MADE + WARM;
		for (unsigned i = 0; i < seats; i++) {
			st.blocks = 0;
			unit(op, i, r >= MADE);
			if (!st.measure)
				continue;
			total += st.blocks;
			most = MAX(most, st.blocks);
			least = MIN(least, st.blocks);
		}
	}
	world_done();
	if (!st.accesses)
		die("%s: no access was seen", op->name);
	ops = (double)ROUNDS * seats * op_per(op);
	printf("{\"op\":\"%s\",\"layout\":\"%s\",\"pcpus\":%u,\"control\":%s,\"locked\":%s,"
	       "\"blocks\":%.3f,\"least\":%.3f,\"most\":%.3f,\"transfers\":%.4f",
	       op->name, layout_name(layout), seats, op->control ? "true" : "false",
	       op->locked ? "true" : "false", (double)total / ops, (double)least / op_per(op),
	       (double)most / op_per(op), (double)st.transfers / ops);
	report_hot(ops);
	printf("}\n");
	fflush(stdout);
}
