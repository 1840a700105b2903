/* SPDX-License-Identifier: MIT */
/*
 * Event channels (ABI: <xen/event_channel.h>; 2-level and FIFO).
 *
 * A port is one cache line of hypervisor memory, found through a per-domain radix table that only
 * grows. Everything that decides where an event goes (kind, peer, vCPU) is one 64-bit state word;
 * a send reads the two words of a link and writes only what belongs to the receiving port and its
 * vCPU's queue. No lock anywhere. The protocols are described where they live: state words and
 * links in core/evtchn.c, the 2-level bitmaps in core/evtchn_2l.c, the FIFO queues in
 * core/evtchn_fifo.c, waking in core/evtchn_deliver.c.
 *
 * Context of all functions: hypervisor, interrupts off, RCU-online; none sleeps.
 */
#ifndef CORE_EVTCHN_H
#define CORE_EVTCHN_H

#include "core/types.h"

#include <xen/xen.h>
#include <xen/event_channel.h>

#include "percpu/rcu.h"

struct domain;
struct vcpu;
struct evtchn;
struct evtchn_fifo;

#define EVTCHN_PORTS_PER_PAGE 64U /* struct evtchn in a bucket (one page) */
#define EVTCHN_CHUNK 16U /* ports a vCPU claims at a time: a cache line of FIFO event words */
#define EVTCHN_BUCKETS_PER_DIR 512U
#define EVTCHN_DIRS 4U		/* 4 * 512 * 64 = EVTCHN_FIFO_NR_CHANNELS */
#define EVTCHN_MAX_PORTS 16384U /* per domain: bounds hypervisor memory to 1 MiB */
#define EVTCHN_NR_VIRQS 24U	/* NR_VIRQS of the ABI */

enum evtchn_abi { EVTCHN_ABI_2L, EVTCHN_ABI_FIFO };

/* One page of bucket pointers. */
struct evtchn_dir {
	_Atomic(struct evtchn *) bucket[EVTCHN_BUCKETS_PER_DIR];
};

/* In struct domain. All fields (any). */
struct evtchn_dom {
	struct evtchn *first; /* the first bucket, there from creation on: most need no other */
	_Atomic(struct evtchn_dir *) dir[EVTCHN_DIRS];
	_Atomic(struct evtchn_fifo *) fifo; /* from the first init_control to the domain's end */
	_Atomic uint32_t abi;		    /* enum evtchn_abi */
	_Atomic bool dying;		    /* teardown began: no new links */
	_Atomic bool quiet; /* and no sender has a pointer into the domain's memory any more */
	struct rcu_head rcu;
	/* vCPUs inside SCHEDOP_poll; written only by polling, so read-mostly for senders. */
	_Atomic uint64_t poll_mask[DIV_ROUND_UP(MAX_VCPUS, 64)] CACHE_ALIGNED;
};

/* In struct vcpu. (any), except poll_listed (cur) */
struct evtchn_vcpu {
	_Atomic uint32_t virq[EVTCHN_NR_VIRQS]; /* port bound to each VIRQ, 0 none */
	union {
		struct {
			bool poll_listed;	   /* its bit in poll_mask is set */
			_Atomic bool fifo_backlog; /* a FIFO queue was left for it to link */
		};
		_Atomic uint16_t rare; /* both, for the look at every return to the guest */
	};
};

/*
 * In struct vcpu: where it finds its next port, see core/evtchn_table.c. Hints: @at is written by its
 * own pCPU, @low rarely by others too.
 */
struct evtchn_ports {
	_Atomic uint32_t at;  /* port to try first, in its present chunk */
	_Atomic uint32_t low; /* first chunk that may hold free ports of its own */
};

/**
 * evtchn_domain_init() - prepare @d->evt; d->shared and d->vcpu[] need not exist yet.
 * Returns 0 or -XEN_ENOMEM.
 */
int evtchn_domain_init(struct domain *d);

/** evtchn_vcpu_init() - prepare @v->evt; v->info may be NULL (no place for events yet). */
void evtchn_vcpu_init(struct vcpu *v);

/**
 * evtchn_teardown() - close every port of @d (remote ends become unbound, reserved for @d's id), in
 * one bounded pass. All of @d's vCPUs are stopped; other domains may be sending to and binding at @d
 * meanwhile. Senders that found a port before it was closed may still set bits in @d's shared_info,
 * vcpu_info and FIFO pages until a grace period has passed. Returns whether it has: false at the
 * first call; call again later, and return @d's memory only after true.
 */
bool evtchn_teardown(struct domain *d);

/**
 * evtchn_domain_free() - release the port table. A grace period after evtchn_teardown() (from the
 * RCU callback that frees @d).
 */
void evtchn_domain_free(struct domain *d);

/* ---- sending from inside the hypervisor ---- */

/** send_guest_vcpu_virq() - raise per-vCPU @virq (VIRQ_TIMER...) on @v; dropped when not bound. */
void send_guest_vcpu_virq(struct vcpu *v, unsigned virq);

/** send_guest_global_virq() - raise global @virq (bound at vCPU 0) in @d; dropped when not bound.
 */
void send_guest_global_virq(struct domain *d, unsigned virq);

/** send_global_virq() - raise @virq in domain 0, when there is one. */
void send_global_virq(unsigned virq);

/** Called when the guest sends on a port made by evtchn_alloc_hyp(); context of a hypercall. */
typedef void (*evtchn_hyp_fn)(struct domain *d, evtchn_port_t port);

/**
 * evtchn_alloc_hyp() - make a port in @d whose remote end is the hypervisor. The guest sees an
 * interdomain channel to @remote (for EVTCHNOP_status only); its sends call @fn. Survives
 * EVTCHNOP_reset. Returns 0 and *@port, or -XEN_ENOSPC, -XEN_ENOMEM.
 */
int evtchn_alloc_hyp(struct domain *d, domid_t remote, evtchn_hyp_fn fn, evtchn_port_t *port);

/** evtchn_notify_hyp_port() - raise the guest's end of such a port; dropped when it was closed. */
void evtchn_notify_hyp_port(struct domain *d, evtchn_port_t port);

/* ---- delivery ---- */

/**
 * vcpu_event_pending() - the upcall is due: pending and not masked. Also the check before block.
 * Inline, in core/domain.h: every return to a guest asks.
 */
static inline bool vcpu_event_pending(struct vcpu *v);

/** vcpu_event_backlog() - its rare part: link what was left to @v, end its poll. */
void vcpu_event_backlog(struct vcpu *v);

/**
 * vcpu_mark_events_pending() - set evtchn_upcall_pending; on 0 -> 1 wake or kick @v. Exposed for
 * whoever changes the mask on the guest's behalf.
 */
void vcpu_mark_events_pending(struct vcpu *v);

/**
 * vcpu_kick_for_event() - make @v look at its events: wakes it when blocked (ending a poll), kicks
 * the pCPU it runs on when that is another one. Idempotent, lock-free.
 */
void vcpu_kick_for_event(struct vcpu *v);

/**
 * evtchn_vcpu_info_moved() - make @new (direct-map address in a pinned frame, zero or old guest
 * content) the vcpu_info of @v: copies what the present one holds (when there is none: zero,
 * upcall masked), publishes it in v->info and marks everything pending, so that no event is lost
 * and at worst one is spurious (as in Xen). The old one stays readable until a grace period.
 */
void evtchn_vcpu_info_moved(struct vcpu *v, vcpu_info_t *new_info);

/* ---- SCHEDOP_poll: begin; then check each port and vcpu_event_pending(); then block or end ----
 */

/**
 * evtchn_poll_begin() - @v (current) polls @nr ports (<= 128; hypervisor copy): fills
 * v->poll_ports, sets v->polling. Full barrier: an event that the following checks miss wakes @v.
 * Returns -XEN_EINVAL for a port out of range.
 */
int evtchn_poll_begin(struct vcpu *v, const evtchn_port_t *ports, unsigned nr);

/** evtchn_poll_end() - @v no longer polls (found one, timeout). True when it was polling. Any pCPU. */
bool evtchn_poll_end(struct vcpu *v);

/** evtchn_poll_wake() - wake @d's vCPUs that poll @port; by senders, after it became pending. */
void evtchn_poll_wake(struct domain *d, evtchn_port_t port);

/** evtchn_port_pending() - whether @port of @v's domain is pending, masked or not. */
bool evtchn_port_pending(struct vcpu *v, evtchn_port_t port);

/** evtchn_port_valid() - @port may be named by @d: below the ABI's limit and allocated once. */
bool evtchn_port_valid(struct domain *d, evtchn_port_t port);

/* ---- operations, as the hypercalls do them; return 0 or -XEN_Exxx ---- */

int evtchn_alloc_unbound(struct domain *d, domid_t remote, evtchn_port_t *port);
int evtchn_bind_interdomain(struct domain *ld, struct domain *rd, evtchn_port_t rport,
			    evtchn_port_t *lport);
int evtchn_bind_virq(struct domain *d, unsigned virq, unsigned vcpu, evtchn_port_t *port);
int evtchn_bind_ipi(struct domain *d, unsigned vcpu, evtchn_port_t *port);
int evtchn_close(struct domain *d, evtchn_port_t port);
int evtchn_send(struct domain *d, evtchn_port_t port);
int evtchn_status(struct domain *d, evtchn_port_t port, struct evtchn_status *st);
int evtchn_bind_vcpu(struct domain *d, evtchn_port_t port, unsigned vcpu);
int evtchn_unmask(struct domain *d, evtchn_port_t port);
/** evtchn_reset() - close all guest ports and return to 2-level; -HC_CONTINUE when preempted. */
int evtchn_reset(struct domain *d);
int evtchn_set_priority(struct domain *d, evtchn_port_t port, uint32_t priority);
int evtchn_fifo_init_control(struct domain *d, struct evtchn_init_control *ic);
int evtchn_fifo_expand_array(struct domain *d, uint64_t array_gfn);

#endif
