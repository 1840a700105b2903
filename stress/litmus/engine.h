/* SPDX-License-Identifier: MIT */
/* Between the parts of the litmus program; see litmus.h. */
#ifndef STRESS_LITMUS_ENGINE_H
#define STRESS_LITMUS_ENGINE_H

#include "stress/litmus/litmus.h"

/* ---- engine.c ---- */

/* The thread that runs, -1: none, accesses are plain. */
extern int litmus_self;
/* Between mem_begin() and mem_undo(). */
extern bool litmus_undoable;

/* Before a step of the running thread that others can notice. */
void engine_point(void);
/* One of @n; 0 is the plain one. */
unsigned engine_choose(unsigned n);
/* The running thread can go on only when another has written. @seen: it saw the newest of all. */
void engine_yield(bool seen);
/* Another thread may be waiting for this write. */
void engine_wrote(void);
/* A plain access: bounds loops without any other. */
void engine_count(void);

struct result {
	uint64_t executions;
	unsigned bound;	 /* all with as many deviations were run */
	unsigned needed; /* deviations of the failure */
	char wrong[400]; /* empty: none */
};

/* Run all executions of @t with up to @bound deviations, those with few first; at most @most. */
void engine_explore(const struct litmus *t, unsigned bound, uint64_t most, struct result *out);

/* ---- memory.c ---- */

enum rmw { RMW_XCHG, RMW_ADD, RMW_SUB, RMW_AND, RMW_OR, RMW_XOR, RMW_NAND };

/* What @op with @v makes of @old. */
uint64_t rmw_applied(enum rmw op, uint64_t old, uint64_t v);

void mem_begin(unsigned threads);
/* Everything written since mem_begin() is as before. */
void mem_undo(void);
/* A write outside of any thread. */
void mem_remember(uintptr_t at, size_t size);

uint64_t mem_load(uintptr_t at, unsigned size, int order);
void mem_store(uintptr_t at, unsigned size, uint64_t v, int order);
uint64_t mem_rmw(uintptr_t at, unsigned size, enum rmw op, uint64_t v, int order);
bool mem_cas(uintptr_t at, unsigned size, uint64_t *expected, uint64_t v, int order, int fail);
void mem_fence(int order);
/* What this thread last saw there, without looking again. */
uint64_t mem_again(uintptr_t at, unsigned size);
void mem_plain(uintptr_t at, size_t size, bool write);
/* A kick: the receiver acquires what the sender had done. */
void mem_kick_send(unsigned to);
void mem_kick_receive(unsigned me);
/* The next load sees the newest store. */
void mem_look_fresh(void);
/* Whether a load since then saw an older one. */
bool mem_saw_old(void);

/* ---- hooks.c ---- */

bool hooks_variant(const char *text);
void hooks_list(bool on);
void hooks_print_list(void);
/* Where the access that is being made was compiled, for messages. */
extern uintptr_t hooks_site;

#endif
