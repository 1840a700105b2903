/* SPDX-License-Identifier: MIT */
/*
 * Logging without serialising pCPUs: each pCPU writes records into its own ring; one writer (pCPU
 * 0, or whoever panics) merges the rings by time stamp and feeds the output streams. Lines come
 * out as "[   1.234567] who| text" on stream 0, records as one JSON object per line on stream 1.
 *
 * Ring: SPSC bytes. Invariant: [tail, head) holds whole records; head is written by the pCPU, tail
 * by the writer. Linearization: publishing at the release store of head, consuming at that of tail.
 * Orders: the writer's acquire of head sees the record's bytes; the pCPU's acquire of tail sees
 * that the writer has done reading. PAIRS: log_head, log_tail.
 */
#ifndef PERCPU_LOG_H
#define PERCPU_LOG_H

#include <stdarg.h>

#include "core/types.h"
#include "percpu/inbox.h"
#include "percpu/timer.h"

#define LOG_RING_SIZE 16384u
#define LOG_LINE_MAX 1024u /* longer text is cut (printk) or split (guest lines) */
#define LOG_DRAIN_NS (5 * NS_PER_MS)

struct log_ring {
	/* The pCPU's side. */
	_Atomic uint32_t head CACHE_ALIGNED;
	uint32_t seen_tail;
	_Atomic uint32_t lost;	 /* records dropped because the ring was full */
	struct inbox_msg notify; /* tells the writer that there is something */
	_Atomic uint32_t notify_state;
	/* The writer's side. */
	_Atomic uint32_t tail CACHE_ALIGNED;
	uint32_t lost_told;
	struct timer drain_timer; /* pCPU 0 only */
	uint8_t buf[LOG_RING_SIZE] CACHE_ALIGNED;
};

/** log_init_pcpu() - by pcpu_init(). */
struct pcpu;
void log_init_pcpu(struct pcpu *p);

/** printk() - one line (a trailing newline is dropped) from the hypervisor. Any context. */
void printk(const char *fmt, ...) PRINTF(1, 2);
void vprintk(const char *fmt, va_list ap);

/**
 * log_guest_line() - one line of guest console output; unprintable bytes come out as '.'. False
 * when the ring is full: nothing was taken and the caller keeps the text and tries again later.
 * @len <= LOG_LINE_MAX.
 */
bool log_guest_line(const char *name, const char *text, size_t len);

/**
 * record_printf() - one line for stream 1, a JSON object. Never cut: false when it does not fit
 * (too long or ring full).
 */
bool record_printf(const char *fmt, ...) PRINTF(1, 2);

/** log_json_escape() - @src as the inside of a JSON string into @dst (@size > 0); returns @dst. */
char *log_json_escape(char *dst, size_t size, const char *src);

/**
 * log_drain() - write out what all rings hold now. pCPU 0 only: its 5 ms timer while anything is
 * pending, idle, and before the machine halts. Stops early when other work is due and returns
 * true if something is left.
 */
bool log_drain(void);

/** log_flush() - log_drain() to the end. pCPU 0, before halting. */
void log_flush(void);

/** log_panic_flush() - write out everything from any pCPU; all others have been stopped. */
void log_panic_flush(void);

#endif
