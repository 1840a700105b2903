/* SPDX-License-Identifier: MIT */
/*
 * Guest consoles: the PV console ring (ABI: <xen/io/console.h>) and CONSOLEIO hypercalls, turned
 * into named lines of the log, or into raw bytes of the attached stream.
 *
 * Many vCPUs may notify at once. Whoever finds the drain idle becomes its owner; the others leave
 * a mark and go, and the owner looks again before it lets go, so no notification is lost and
 * nobody waits (core/console.c). The fields below `drain` belong to the owner.
 *
 * Nothing is lost: what the log cannot take stays in the ring (the guest sees it full and waits)
 * and is retried by pCPU 0, which also flushes lines left incomplete for CONSOLE_PARTIAL_NS.
 */
#ifndef CORE_CONSOLE_H
#define CORE_CONSOLE_H

#include "core/types.h"

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/io/console.h>

#include "percpu/inbox.h"

struct domain;

#define CONSOLE_LINE_MAX   480		     /* longer lines are split */
#define CONSOLE_STAGE	   256		     /* bytes taken from the guest at a time */
#define CONSOLE_INPUT	   256		     /* input buffered for CONSOLEIO_read */
#define CONSOLE_PARTIAL_NS (100 * NS_PER_MS) /* an incomplete line is shown after this */
#define CONSOLE_RETRY_NS   (5 * NS_PER_MS)

/* A line being assembled. */
struct console_line {
	uint32_t len;
	bool complete;	   /* ended; waits for the log to take it */
	uint64_t first_ns; /* system time of its first byte */
	char text[CONSOLE_LINE_MAX];
};

struct console {
	struct xencons_interface *_Atomic ring; /* direct map; NULL: no ring (yet, or any more) */
	_Atomic evtchn_port_t port;		/* guest's end; 0 none */
	_Atomic bool attached;
	_Atomic bool attention; /* on pCPU 0's list, or on its way there */
	struct inbox_msg attention_msg;
	struct console *next; /* pCPU 0's list */

	_Atomic uint32_t drain CACHE_ALIGNED;	   /* 0 idle, 1 owned, 2 owned and look again */
	bool finishing;				   /* flush incomplete lines now */
	bool stalled;				   /* the log was full */
	uint32_t stage_len, stage_raw, stage_line; /* staged bytes; given to stream 2; to a line */
	char stage[CONSOLE_STAGE];
	struct console_line line;	 /* of the ring */
	struct console_line io_line;	 /* of CONSOLEIO_write */
	uint32_t io_in_prod, io_in_cons; /* input for CONSOLEIO_read */
	char io_in[CONSOLE_INPUT];
	uint64_t bytes_out, bytes_in, broken; /* broken: times the guest's indexes made no sense */
};

/** console_init() - prepare @d->con before anything else of it is used. */
void console_init(struct domain *d);

/**
 * console_set_ring() - give @d its console: @ring is the hypervisor's address of the (zeroed,
 * pinned until console_finish() was true) guest page named by start_info.console.domU.mfn.
 * Allocates the event channel and returns its port in *@port, to be put into
 * start_info.console.domU.evtchn. Returns 0 or evtchn_alloc_hyp()'s error.
 */
int console_set_ring(struct domain *d, struct xencons_interface *ring, evtchn_port_t *port);

/**
 * console_finish() - at domain end, after its vCPUs stopped: hand over everything left, incomplete
 * lines included. False while the log has no room or pCPU 0 still holds the console: call again
 * later (about CONSOLE_RETRY_NS). After true, nobody but the caller refers to it, and the ring page
 * may be released. Any pCPU.
 */
bool console_finish(struct domain *d);

/** console_attach() - route @d's console to stream 2 as raw bytes (both ways), beside its lines.
 * At most one domain is attached; call before it runs. */
void console_attach(struct domain *d);

/**
 * console_input() - offer @len bytes typed at the console; returns how many were taken (ring full:
 * fewer). One caller at a time (pCPU 0's input poll).
 */
size_t console_input(struct domain *d, const char *buf, size_t len);

/**
 * console_io_write() - CONSOLEIO_write of the current vCPU: @count bytes at guest address @gva.
 * Returns 0 when all were taken; -XEN_EAGAIN when the log (or another vCPU's write) is in the way:
 * continue the hypercall from *@done on; -XEN_EFAULT. *@done: bytes taken, in every case.
 */
long console_io_write(struct domain *d, uint64_t gva, uint64_t count, uint64_t *done);

/** console_io_read() - CONSOLEIO_read: up to @count bytes to @gva; returns their number or
 * -XEN_EFAULT. The first call directs input here when the domain has no ring. */
long console_io_read(struct domain *d, uint64_t gva, uint64_t count);

/** console_poll_start() - on pCPU 0, once: begin polling stream 2's input for the attached console.
 */
void console_poll_start(void);

#endif
