/* SPDX-License-Identifier: MIT */
/*
 * Guest consoles: the PV console ring (ABI: <xen/io/console.h>) and CONSOLEIO hypercalls, turned
 * into named lines of the log; for the attached domain also into raw bytes of stream 2.
 *
 * Many vCPUs may notify at once. Whoever finds the drain idle becomes its owner; the others leave
 * a mark and go, and the owner looks again before it lets go, so no notification is lost and
 * nobody waits (core/console.c).
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

#include "ioring/byte_ring.h"
#include "percpu/inbox.h"

struct domain;

#define CONSOLE_LINE_MAX 480		     /* longer lines are split */
#define CONSOLE_STAGE 256		     /* bytes taken from the guest at a time */
#define CONSOLE_INPUT 256		     /* input buffered for CONSOLEIO_read; a power of two */
#define CONSOLE_PARTIAL_NS (100 * NS_PER_MS) /* an incomplete line is shown after this */
#define CONSOLE_RETRY_NS (5 * NS_PER_MS)

/* A line being assembled. */
struct console_line {
	uint32_t len;
	bool was_split;	   /* the line before was cut here: a newline now ends that one */
	bool complete;	   /* ended; waits for the log to take it */
	uint64_t first_ns; /* system time of its first byte */
	char text[CONSOLE_LINE_MAX];
};

struct console {
	_Atomic(struct xencons_interface *) ring; /* direct map; NULL: none (yet, or any more) */
	_Atomic evtchn_port_t port;		  /* guest's end; 0 none */
	_Atomic bool attached;
	_Atomic bool finishing; /* domain end: flush incomplete lines at once */
	_Atomic bool attention; /* on pCPU 0's list, or on its way there */
	struct inbox_msg attention_msg;
	struct console *next; /* pCPU 0's list */

	_Atomic uint32_t drain CACHE_ALIGNED; /* enum in core/console.c */
	/* The drain owner's. */
	struct byte_ring out;
	uint32_t stage_len, stage_pos; /* taken from the ring; of these, put into lines */
	char stage[CONSOLE_STAGE];
	struct console_line line;    /* of the ring */
	struct console_line io_line; /* of CONSOLEIO_write */
	uint64_t bytes_out;	     /* from the guest, both ways */
	uint64_t broken;	     /* times the guest's indexes made no sense */

	/* Input: written by pCPU 0's poll. */
	struct byte_ring in CACHE_ALIGNED;
	_Atomic bool io_reader; /* the guest reads by CONSOLEIO_read */
	_Atomic uint32_t io_prod, io_cons;
	char io_in[CONSOLE_INPUT];
};

/** console_init() - prepare @d->con before anything else of it is used. */
void console_init(struct domain *d);

/**
 * console_set_ring() - give @d its console: @ring is the hypervisor's address of the guest page
 * (zeroed, pinned for the domain's life) named by start_info.console.domU.mfn. Allocates the event
 * channel and returns its port in *@port, to be put into start_info.console.domU.evtchn.
 * Before the domain runs. Returns 0 or evtchn_alloc_hyp()'s error.
 */
int console_set_ring(struct domain *d, struct xencons_interface *ring, evtchn_port_t *port);

/**
 * console_finish() - at domain end, after its vCPUs stopped: hand over everything left, incomplete
 * lines included. False while the log has no room or another pCPU is at it: call again later
 * (about CONSOLE_RETRY_NS). After true the ring is not touched any more and, a grace period later,
 * nobody refers to @d->con. Any pCPU.
 */
bool console_finish(struct domain *d);

/**
 * console_attach() - stream 2 becomes @d's terminal (raw bytes both ways), beside its lines in the
 * log. One domain at a time; before it runs. Input is polled by pCPU 0 from console_poll_start() on.
 */
void console_attach(struct domain *d);

/** console_detach() - undo it; by console_finish(). */
void console_detach(struct domain *d);

/** console_poll_start() - on pCPU 0, once: poll stream 2 for the attached console's input. */
void console_poll_start(void);

/**
 * console_input() - offer @len bytes typed at the console; returns how many were taken (no room:
 * fewer). One caller at a time (pCPU 0's input poll).
 */
size_t console_input(struct domain *d, const char *buf, size_t len);

/**
 * console_io_write() - CONSOLEIO_write of the current vCPU: @count bytes at guest address @gva.
 * *@done: bytes taken, in every case. Returns 0 when all were; -XEN_EFAULT; -XEN_EAGAIN when the
 * log is full, another vCPU is at it, or this took long enough: continue the hypercall behind
 * *@done.
 */
long console_io_write(struct domain *d, uint64_t gva, uint64_t count, uint64_t *done);

/** console_io_read() - CONSOLEIO_read: up to @count bytes to @gva; returns their number or
 * -XEN_EFAULT. From the first call on, input of a domain without a ring is kept for it. */
long console_io_read(struct domain *d, uint64_t gva, uint64_t count);

#endif
