/* SPDX-License-Identifier: MIT */
/*
 * The host arch as tests use it: memory, pCPUs as threads or simulated in one thread, clock, and
 * captured output.
 */
#ifndef CORE_HOST_HOST_H
#define CORE_HOST_HOST_H

#include <setjmp.h>

#include "core/types.h"
#include "percpu/pcpu.h"

/** host_arena_init() - @frames frames of zeroed physical memory; replaces an earlier arena. */
void host_arena_init(uint64_t frames);

/** host_guest_range() - copy_from/to_guest accept [lo, hi) only; at first all but page 0. */
void host_guest_range(uint64_t lo, uint64_t hi);

/** host_tlb_hook - called when this pCPU flushes: one address, or all (UINT64_MAX). May be NULL. */
extern void (*host_tlb_hook)(uint64_t va);

/* ---- clock ---- */

/** host_clock_virtual() - arch_now_ns() returns what host_clock_set/advance() made it; or real. */
void host_clock_virtual(bool on);
void host_clock_set(uint64_t ns);
void host_clock_advance(uint64_t ns);
bool host_clock_is_virtual(void);

/* ---- pCPUs in one thread (deterministic) ---- */

/**
 * host_sim_init() - forget all pCPUs and make @n new ones, online, all played by the calling
 * thread, which becomes pCPU 0. The clock is virtual and 0, RCU is percpu/qsbr.c.
 */
void host_sim_init(unsigned n);

/** host_become() - this thread is pCPU @cpu from now on. Returns the one it was. */
unsigned host_become(unsigned cpu);

/** host_sim_rcu_drain() - poll all pCPUs until no RCU callback is left; all are quiescent. */
void host_sim_rcu_drain(void);

/* ---- pCPUs as threads ---- */

/**
 * host_threads_start() - forget all pCPUs, make @n new ones, each a thread that runs @fn(@arg) as
 * that pCPU (RCU-online) once all have been initialised. The calling thread is none of them.
 */
void host_threads_start(unsigned n, void (*fn)(void *arg), void *arg);
/** host_threads_join() - wait for all of them to return from fn. */
void host_threads_join(void);

/**
 * host_pcpu_loop() - a pCPU's exit path and idle loop without vCPUs: drain the inbox, run timers,
 * poll RCU, sleep; until *@stop.
 */
void host_pcpu_loop(_Atomic bool *stop);

/** host_service() - one round of it without sleeping: inbox, timers, quiescent state, RCU. */
void host_service(void);

/* ---- RCU backend ---- */

enum host_rcu { HOST_RCU_URCU, HOST_RCU_QSBR };
/** host_rcu_select() - before host_threads_start(). Default: urcu-qsbr. */
void host_rcu_select(enum host_rcu which);

/* ---- output and ends ---- */

/** host_console_capture() - keep what is written to @stream (max @size bytes) instead of stderr. */
void host_console_capture(unsigned stream, char *buf, size_t size);
/** host_console_len() - bytes captured so far. */
size_t host_console_len(unsigned stream);
/** host_console_input() - what arch_console_read() of @stream delivers next. */
void host_console_input(unsigned stream, const char *text);

/**
 * HOST_CATCH_PANIC() - 0 at first; when panic() or arch_poweroff() is called on this thread
 * later, control returns here with HOST_PANIC or HOST_POWEROFF (once).
 */
enum { HOST_PANIC = 1, HOST_POWEROFF = 2 };
extern _Thread_local jmp_buf host_panic_jmp;
extern _Thread_local bool host_panic_armed;
extern _Thread_local unsigned host_poweroff_status;
extern _Thread_local char host_panic_text[256];
#define HOST_CATCH_PANIC() (host_panic_armed = true, setjmp(host_panic_jmp))

#endif
