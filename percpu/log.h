/* SPDX-License-Identifier: MIT */
/*
 * Logging without serialising pCPUs: each pCPU writes records into its own ring; one writer (pCPU
 * 0, or whoever panics) merges the rings by time stamp and feeds the output streams. Lines come
 * out as "[   1.234567] who| text" on stream 0, records as one JSON object per line on stream 1.
 *
 * Ring: ioring/record_ring.h in the pCPU's own memory, both sides being ours.
 *
 * Order: a record that was published before another one was stamped comes out before it, whatever
 * rings they are in (a guest's console drain may move from pCPU to pCPU between two lines). The
 * writer takes the oldest record it finds, having seen in a second look at all rings that none is
 * older: acquiring a record's prod makes all that was published before it visible.
 *
 * Notice: a pCPU that publishes sends a message to pCPU 0 unless one is on its way or being acted on.
 *   pCPU:   publish prod; look at notify_state            (PAIRS: log_notify)
 *   writer: notify_state = IDLE; look at prod              (PAIRS: log_notify)
 * All four seq_cst: either the pCPU sees IDLE and sends, or the writer sees the record.
 */
#ifndef PERCPU_LOG_H
#define PERCPU_LOG_H

#include <stdarg.h>

#include "core/types.h"
#include "ioring/byte_ring.h"
#include "percpu/inbox.h"
#include "percpu/timer.h"

#define LOG_RING_SIZE 16384u
#define LOG_LINE_MAX 1024u /* longer text is cut (printk) or split (guest lines) */
#define LOG_DRAIN_NS (5 * NS_PER_MS)

struct log_ring {
	/* The pCPU's side. */
	uint32_t prod CACHE_ALIGNED; /* byte_ring.h: atomic accesses only */
	struct byte_ring in;
	_Atomic uint32_t lost; /* records dropped because the ring was full */
	_Atomic uint32_t notify_state;
	struct inbox_msg notify CACHE_ALIGNED; /* tells the writer that there is something */
	/* The writer's side. */
	uint32_t cons CACHE_ALIGNED;
	struct byte_ring out;
	uint32_t lost_told;
	struct timer drain_timer; /* pCPU 0 only */
	char buf[LOG_RING_SIZE] CACHE_ALIGNED;
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
