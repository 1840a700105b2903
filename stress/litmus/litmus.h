/* SPDX-License-Identifier: MIT */
/*
 * Litmus tests: small programs of two to four threads on the lock-free structures of the core, run in
 * every interleaving and with every outcome that C11's memory orders allow, within a bound. The core
 * is the unchanged source, compiled as for ThreadSanitizer, but the hooks that the compiler puts
 * before each memory access lead here instead of to TSan's library:
 *   engine.c  threads as coroutines; enumerates all decisions (who goes on, which store a load sees)
 *   memory.c  the memory: stores that a load may still see, happens-before, data races, undo
 *   hooks.c   what the compiler calls; where a variant breaks one access
 *
 * Decisions are enumerated by the number of deviations from the plain run (each thread to its end,
 * each load sees the newest store): all executions with none, with one, two, ... An execution fails
 * by LITMUS_ASSERT, panic(), a data race, or when all threads wait.
 *
 * Variants name an access by its place in the program and what is wrong with it (struct variant in
 * hooks.c), so that no source has to be changed for them: launch/stress_litmus.py finds the places by
 * the PAIRS tags of the source and the debugging information.
 *
 * What is allowed: C11 with C20's release sequences. A load may see any store that no newer one seen
 * before hides (by coherence and happens-before), stores to one place take effect in the order in
 * which they are executed, loads do not see later stores of their own thread. Sequentially consistent
 * stores and RMWs act as full fences, sequentially consistent loads see the last of these. So what
 * passes is right on machines weaker than x86 too, up to load buffering and 2+2W.
 */
#ifndef STRESS_LITMUS_H
#define STRESS_LITMUS_H

#include "core/types.h"

#define LITMUS_THREADS 4

struct litmus {
	const char *name;
	const char *shows;
	unsigned threads; /* thread i is pCPU i, if there is one */
	unsigned bound;	  /* deviations; 0: the default */
	/* Once; what the threads write is undone after each execution. */
	void (*setup)(void);
	void (*thread)(unsigned me);
	/* After all threads, which happen before it. May be NULL. */
	void (*check)(void);
};

/* Register a test. */
#define LITMUS(id, ...)                                \
	static const struct litmus id = {__VA_ARGS__}; \
	static const struct litmus *const id##_entry   \
		__attribute__((section("litmus_tests"), used)) = &id

/** litmus_fail() - this execution is wrong: it ends here. */
_Noreturn void litmus_fail(const char *fmt, ...) PRINTF(1, 2);

#define LITMUS_STR2(x) #x
#define LITMUS_STR(x) LITMUS_STR2(x)
#define LITMUS_ASSERT(cond)                                                                \
	do {                                                                               \
		if (!(cond))                                                               \
			litmus_fail("%s", #cond " at " __FILE__ ":" LITMUS_STR(__LINE__)); \
	} while (0)

/** litmus_idle() - wait for a kick of this thread's pCPU, as HLT does. Acquires what was done before
 * the kick. */
void litmus_idle(void);

/** litmus_kicks() - kicks sent to pCPU @cpu in this execution. */
unsigned litmus_kicks(unsigned cpu);

/** litmus_wait() - poll until *@word (relaxed) is @value; the caller orders. */
void litmus_wait(_Atomic uint32_t *word, uint32_t value);

/** litmus_choose() - whether the rest of this thread shall be left out; explored both ways. */
bool litmus_choose(void);

#endif
