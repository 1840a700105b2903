/* SPDX-License-Identifier: MIT */
/*
 * Independent work on many pCPUs: what ./xylem bench scale runs on the host build.
 *
 * Each pCPU has a seat: one vCPU that stays current there, and operands of its own. In layout APART
 * every seat has its own domain, in ONE they are vCPUs of a single domain. Operands of two seats never
 * share a line that the ABI lays out.
 */
#ifndef SCALE_BENCH_H
#define SCALE_BENCH_H

#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/memory.h>

#include "core/domain.h"
#include "core/host/host.h"
#include "core/hypercall.h"
#include "memsvc/scan_impl.h"

#define SEATS_MAX 64
#define SEAT_PAGES 64	      /* data names of each seat */
#define SEAT_EXTENTS 32	      /* of them, names that come and go */
#define SEAT_PORTS 16U	      /* between the ports of two seats: one line of event words */
#define SEAT_SHARE SCAN_BATCH /* names of each seat that the sharing operation works on */

enum layout { APART = 1, ONE = 2 };

struct seat {
	unsigned cpu;
	struct vcpu *vcpu;
	uint64_t l1; /* name of a live L1 of its own, its first SEAT_PAGES entries in use */
	uint64_t data, share; /* first name of each */
	evtchn_port_t port;
	uint64_t round;
	/* What the hypercalls point to. */
	struct mmu_update map[SEAT_PAGES], unmap[SEAT_PAGES];
	struct evtchn_send send;
	struct xen_memory_reservation reservation;
	xen_pfn_t extent[SEAT_EXTENTS];
	/* The scanner's batch. */
	struct scan_page batch[SEAT_SHARE];
	unsigned taken;
	uint64_t merged;
	mfn_t frame[4 * MAGAZINE_SIZE];
	struct inbox_msg msg;
	uint64_t number CACHE_ALIGNED;
} ALIGNED(4096);

/* A phase of an operation: the hypervisor's work is counted, the guest's and waiting is not. */
struct phase {
	void (*fn)(struct seat *s);
	bool counted;
};

struct scale_op {
	const char *name;
	unsigned layouts; /* in which its operands can be apart */
	unsigned per;	  /* operations in one unit; 0: share_pages */
	bool control;	  /* not Xylem's: there to show what the figures mean */
	bool locked;	  /* control: under one lock throughout */
	struct phase phase[8];
};

extern const struct scale_op scale_ops[];
extern unsigned share_pages; /* pages in one unit of sharing, even */

static inline unsigned op_per(const struct scale_op *op)
{
	return op->per ? op->per : share_pages;
}

/* ---- world.c ---- */

/** world_machine() - memory for @seats pCPUs. Before the pCPUs are made. */
void world_machine(unsigned seats);

/** world_domains() - domains and their tables; on pCPU 0, once. Their vCPUs start to run. */
void world_domains(enum layout layout);

/** world_seat() - fill in this pCPU's seat, whose vCPU is current. */
struct seat *world_seat(void);

/** world_leave() - the exit path of this pCPU until it has nothing to do. True when a vCPU is
 * current. RCU online. */
bool world_leave(void);

/** world_look() - the same, having looked whether a timer is due. */
bool world_look(void);

/** world_hypercall() - as the current vCPU, until it has ended. RCU online. */
long world_hypercall(unsigned nr, const uint64_t args[6]);

/** world_done() - check that every seat's vCPU is still where it was, and what it has done. */
void world_done(void);

struct seat *seat_of(unsigned cpu);

NORETURN void die(const char *fmt, ...) PRINTF(1, 2);

/* ---- scale_lines/lines.c ---- */

/** lines_run() - play @seats pCPUs by one thread and follow every access of @op. */
void lines_run(const struct scale_op *op, enum layout layout, unsigned seats);

/* ---- pace.c ---- */

/** pace_run() - two threads; @rounds rounds of @ms milliseconds in which one or both work. */
void pace_run(enum layout layout, unsigned rounds, unsigned ms, const char *only);

/** pace_transfer() - the time in which a line goes to the other core and back, halved. */
void pace_transfer(unsigned rounds);

/* Of the command line; they do not return when it is wrong. */
unsigned number(const char *s, unsigned long min, unsigned long max);
enum layout layout_of(const char *s);
const char *layout_name(enum layout l);

#endif
