/* SPDX-License-Identifier: MIT */
/* Threads as coroutines, and the enumeration of their interleavings; see litmus.h. */
#include "stress/litmus/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/host.h"

#define STACK (256 * 1024)
#define MAX_TRAIL 20000
#define MAX_STEPS 20000 /* of one execution */
#define MAX_PLAIN 4000000

struct thread {
	void *sp;
	bool done, waits;
	uint64_t wrote;	 /* steps of its own that others may wait for */
	uint64_t looked; /* those of others when it last began to look */
	bool kicked;
	unsigned kicks;
};

struct decision {
	uint16_t k, n;
};

int litmus_self = -1;
bool litmus_undoable;

/* Found by hooks.c: accesses to the coroutines' own stacks are nobody else's. */
uint8_t litmus_stacks[LITMUS_THREADS][STACK] ALIGNED(64);
const size_t litmus_stacks_size = sizeof(litmus_stacks);

static struct {
	const struct litmus *test;
	struct thread thread[LITMUS_THREADS];
	void *main_sp;
	struct decision trail[MAX_TRAIL];
	unsigned len, at;
	unsigned bound, used;
	uint64_t writes, steps, plain;
	char wrong[400];
	bool checking;
	jmp_buf check_jmp;
} eng;

/* Save this context's stack pointer in *@save and go on at @sp. */
void litmus_switch(void **save, void *sp);
__asm__(".pushsection .text\n"
	"litmus_switch:\n"
	"	pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp\n"
	"	ret\n"
	".popsection\n");

static void become(unsigned t)
{
	litmus_self = -1; /* host_become() is no part of the test */
	if (t < nr_pcpus())
		host_become(t);
	litmus_self = (int)t;
}

/* ---- decisions ---- */

static unsigned decide(unsigned n, bool costs)
{
	unsigned k = 0;

	if (n < 2 || (costs && eng.used >= eng.bound))
		return 0;
	if (eng.at < eng.len) {
		k = eng.trail[eng.at].k;
		if (eng.trail[eng.at].n != n) {
			fprintf(stderr, "litmus: %s is not deterministic\n", eng.test->name);
			exit(3);
		}
	} else {
		if (eng.len == MAX_TRAIL)
			litmus_fail("too many decisions");
		eng.trail[eng.len++] = (struct decision){0, (uint16_t)n};
	}
	eng.at++;
	eng.used += k && costs;
	return k;
}

unsigned engine_choose(unsigned n)
{
	return decide(n, true);
}

bool litmus_choose(void)
{
	return decide(2, false);
}

/* The next execution's decisions; false when there is none. */
static bool next_trail(void)
{
	while (eng.len) {
		struct decision *d = &eng.trail[eng.len - 1];

		if (++d->k < d->n)
			return true;
		eng.len--;
	}
	return false;
}

/* ---- threads ---- */

static _Noreturn void leave(void)
{
	void *dead;

	litmus_self = -1;
	litmus_switch(&dead, eng.main_sp);
	__builtin_unreachable();
}

_Noreturn void litmus_fail(const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	if (litmus_self >= 0)
		n = snprintf(eng.wrong, sizeof(eng.wrong), "thread %d: ", litmus_self);
	va_start(ap, fmt);
	vsnprintf(eng.wrong + n, sizeof(eng.wrong) - (size_t)n, fmt, ap);
	va_end(ap);
	if (litmus_self >= 0)
		leave();
	if (eng.checking)
		longjmp(eng.check_jmp, 1);
	fprintf(stderr, "litmus: %s: %s\n", eng.test->name, eng.wrong);
	exit(3);
}

static bool can_run(const struct thread *t)
{
	return !t->done && (!t->waits || t->looked != eng.writes - t->wrote);
}

/* Those that can run, the running thread not among them. */
static unsigned others(unsigned *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < eng.test->threads; i++)
		if ((int)i != litmus_self && can_run(&eng.thread[i]))
			out[n++] = i;
	return n;
}

static void go_to(unsigned t)
{
	void **save = &eng.thread[litmus_self].sp;

	eng.thread[t].waits = false;
	become(t);
	litmus_switch(save, eng.thread[t].sp);
}

/* The running thread can not go on. */
static void go_elsewhere(void)
{
	unsigned out[LITMUS_THREADS], n = others(out);

	if (n) {
		go_to(out[decide(n, false)]);
		return;
	}
	for (unsigned i = 0; i < eng.test->threads; i++)
		if (!eng.thread[i].done)
			litmus_fail("waits for ever");
	leave();
}

void engine_point(void)
{
	unsigned out[LITMUS_THREADS], k;

	if (++eng.steps > MAX_STEPS)
		litmus_fail("does not end");
	k = decide(1 + others(out), true);
	if (k)
		go_to(out[k - 1]);
}

void engine_yield(bool seen)
{
	struct thread *t = &eng.thread[litmus_self];

	if (++eng.steps > MAX_STEPS)
		litmus_fail("does not end");
	t->waits = seen;
	if (seen && !can_run(t))
		go_elsewhere();
	else
		engine_point();
	t->waits = false;
	t->looked = eng.writes - t->wrote;
}

void engine_wrote(void)
{
	eng.writes++;
	eng.thread[litmus_self].wrote++;
}

void engine_count(void)
{
	if (++eng.plain > MAX_PLAIN)
		litmus_fail("does not end");
}

static void thread_main(void)
{
	eng.test->thread((unsigned)litmus_self);
	eng.thread[litmus_self].done = true;
	engine_wrote();
	go_elsewhere();
	__builtin_unreachable();
}

/* ---- kicks ---- */

void __wrap_arch_kick(unsigned cpu);
void __wrap_arch_kick(unsigned cpu)
{
	if (litmus_self < 0 || cpu >= LITMUS_THREADS)
		return;
	engine_point();
	mem_kick_send(cpu);
	eng.thread[cpu].kicked = true;
	eng.thread[cpu].kicks++;
	engine_wrote();
}

void litmus_idle(void)
{
	struct thread *t = &eng.thread[litmus_self];

	engine_point();
	while (!t->kicked)
		engine_yield(true);
	t->kicked = false;
	mem_kick_receive((unsigned)litmus_self);
}

unsigned litmus_kicks(unsigned cpu)
{
	return eng.thread[cpu].kicks;
}

/* cpu_relax() of the host. */
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
	if (litmus_self >= 0) {
		engine_yield(!mem_saw_old());
		mem_look_fresh();
	}
	return 0;
}

void __wrap_panic(const char *fmt, ...);
void __wrap_panic(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	litmus_fail("%s", text);
}

/* ---- exploration ---- */

static void run_once(void)
{
	const struct litmus *t = eng.test;

	eng.at = eng.used = 0;
	eng.writes = eng.steps = eng.plain = 0;
	mem_begin(t->threads);
	for (unsigned i = 0; i < t->threads; i++) {
		void **sp = (void **)(litmus_stacks[i] + STACK - 64);

		eng.thread[i] = (struct thread){0};
		*--sp = NULL; /* keeps the stack aligned as after a call */
		*--sp = (void *)thread_main;
		memset(sp - 6, 0, 6 * sizeof(*sp)); /* the frame pointer ends backtraces */
		eng.thread[i].sp = sp - 6;
	}
	become(decide(t->threads, false));
	litmus_switch(&eng.main_sp, eng.thread[litmus_self].sp);
	litmus_self = -1;
	if (nr_pcpus())
		host_become(0);
}

/* What is left when all threads have ended. */
static void run_check(void)
{
	if (!eng.test->check)
		return;
	eng.checking = litmus_undoable = true;
	if (!setjmp(eng.check_jmp))
		eng.test->check();
	eng.checking = litmus_undoable = false;
}

void engine_explore(const struct litmus *t, unsigned bound, uint64_t most, struct result *out)
{
	*out = (struct result){0};
	eng.test = t;
	eng.wrong[0] = '\0';
	t->setup();
	for (eng.bound = 0; eng.bound <= bound; eng.bound++) {
		eng.len = 0;
		do {
			run_once();
			out->executions++;
			if (!eng.wrong[0])
				run_check();
			mem_undo();
			if (eng.wrong[0]) {
				memcpy(out->wrong, eng.wrong, sizeof(out->wrong));
				out->needed = eng.used;
				return;
			}
			if (out->executions == most)
				return;
		} while (next_trail());
		out->bound = eng.bound;
	}
}
