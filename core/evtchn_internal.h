/* SPDX-License-Identifier: MIT */
/*
 * Inside of the event channels: the port record, its state word, and what the files of
 * core/evtchn*.c ask of each other.
 */
#ifndef CORE_EVTCHN_INTERNAL_H
#define CORE_EVTCHN_INTERNAL_H

#include "core/domain.h"
#include "core/xen_errno.h"

/*
 * Kinds of a port. Transitions (each one CAS on the state word, see core/evtchn.c):
 *   FREE -> RESERVED -> {UNBOUND, VIRQ, IPI, HYP, BINDING}
 *   BINDING -> INTERDOMAIN (by the binder) | UNBOUND (by the closer of the other end)
 *   UNBOUND -> INTERDOMAIN (by the binder at the other end)
 *   INTERDOMAIN -> UNBOUND (by the closer of the other end)
 *   {UNBOUND, INTERDOMAIN, VIRQ, IPI, HYP} -> CLOSING -> FREE (by the closer)
 */
enum evtchn_kind {
	EC_FREE,
	EC_RESERVED,	/* taken by an operation in progress */
	EC_BINDING,	/* wants to link with (dom, port) */
	EC_UNBOUND,	/* waits for dom */
	EC_INTERDOMAIN, /* linked with (dom, port), which names this port in turn */
	EC_CLOSING,
	EC_VIRQ, /* VIRQ number `port` */
	EC_IPI,
	EC_HYP /* other end is the hypervisor, shown to the guest as dom */
};

/* State word: kind 0-3, vcpu 4-11, dom 12-27, port 28-44, generation 45-63 (of allocations). */
#define EC_VCPU_SHIFT 4
#define EC_DOM_SHIFT 12
#define EC_PORT_SHIFT 28
#define EC_GEN_SHIFT 45
#define EC_GEN_ONE (1ULL << EC_GEN_SHIFT)
#define EC_GEN_MASK (~0ULL << EC_GEN_SHIFT)

static inline enum evtchn_kind ec_kind(uint64_t w)
{
	return (enum evtchn_kind)(w & 0xf);
}

static inline unsigned ec_vcpu(uint64_t w)
{
	return w >> EC_VCPU_SHIFT & 0xff;
}

static inline domid_t ec_dom(uint64_t w)
{
	return (domid_t)(w >> EC_DOM_SHIFT);
}

static inline evtchn_port_t ec_port(uint64_t w)
{
	return w >> EC_PORT_SHIFT & EVTCHN_FIFO_LINK_MASK;
}

/* A word of the same generation as @w. */
static inline uint64_t ec_word(uint64_t w, enum evtchn_kind kind, unsigned vcpu, domid_t dom,
			       evtchn_port_t port)
{
	return (w & EC_GEN_MASK) | kind | (uint64_t)vcpu << EC_VCPU_SHIFT |
	       (uint64_t)dom << EC_DOM_SHIFT | (uint64_t)port << EC_PORT_SHIFT;
}

/* One port; a cache line. */
struct evtchn {
	_Atomic uint64_t state;
	_Atomic(evtchn_hyp_fn) hyp_fn; /* EC_HYP; written before the state */
	_Atomic uint8_t priority;      /* FIFO: queue for the next time it is linked */
	_Atomic bool early;	       /* FIFO: raised before its event word existed */
	/* FIFO submission, see core/evtchn_fifo.c */
	_Atomic bool queued;	/* on a submission stack, or claimed to be put there */
	_Atomic uint8_t owner;	/* a chunk's first port: the vCPU that claimed it, plus 1; 0 none */
	_Atomic uint16_t lastq; /* queue whose owner may link it: vcpu * 16 + priority */
	_Atomic uint32_t next;	/* port below it on the stack */
} CACHE_ALIGNED;
_Static_assert(sizeof(struct evtchn) * EVTCHN_PORTS_PER_PAGE == PAGE_SIZE, "a page of ports");
_Static_assert(EVTCHN_DIRS *EVTCHN_BUCKETS_PER_DIR *EVTCHN_PORTS_PER_PAGE ==
		       EVTCHN_FIFO_NR_CHANNELS,
	       "the radix covers all ports");

/* core/evtchn_table.c */

/** ec_lookup() - the record of @port, NULL when it was never allocated. Wait-free. */
static inline struct evtchn *ec_lookup(struct domain *d, evtchn_port_t port)
{
	struct evtchn_dir *dir;
	struct evtchn *b;

	if (likely(port < EVTCHN_PORTS_PER_PAGE))
		return d->evt.first + port;
	if (port >= EVTCHN_FIFO_NR_CHANNELS)
		return NULL;
	/* PAIRS: ec_table */
	dir = atomic_load_explicit(
		&d->evt.dir[port / EVTCHN_PORTS_PER_PAGE / EVTCHN_BUCKETS_PER_DIR],
		memory_order_acquire);
	if (!dir)
		return NULL;
	b = atomic_load_explicit(
		&dir->bucket[port / EVTCHN_PORTS_PER_PAGE % EVTCHN_BUCKETS_PER_DIR],
		memory_order_acquire);
	return b ? b + port % EVTCHN_PORTS_PER_PAGE : NULL;
}

/**
 * ec_alloc() - reserve a free port of @d; 0 or -XEN_ENOSPC (each was found in use), -XEN_ENOMEM.
 * The ports are those of the current vCPU or, when it is another domain's, of @d's vCPU 0.
 */
int ec_alloc(struct domain *d, struct evtchn **ep, evtchn_port_t *port);
/** ec_free() - the reserved or closing port becomes free. */
void ec_free(struct domain *d, struct evtchn *e, evtchn_port_t port);
/** ec_restart() - all guest ports have been closed: give them out from the lowest again. */
void ec_restart(struct domain *d);
/** ec_for_range() - visit allocated records of ports @from to @to - 1 until @fn returns non-zero;
 * returns that. ec_for_each(): all of them. */
int ec_for_range(struct domain *d, evtchn_port_t from, evtchn_port_t to,
		 int (*fn)(struct domain *d, struct evtchn *e, evtchn_port_t port));
int ec_for_each(struct domain *d,
		int (*fn)(struct domain *d, struct evtchn *e, evtchn_port_t port));

/* core/evtchn_deliver.c */

/** ec_raise() - make @port pending for @vcpu in whichever ABI @d uses. */
void ec_raise(struct domain *d, struct evtchn *e, evtchn_port_t port, unsigned vcpu);
/** ec_clear_pending() - take back what is pending; at close. */
void ec_clear_pending(struct domain *d, struct evtchn *e, evtchn_port_t port);
/** ec_vcpu() - vCPU @id of @d or NULL. */
static inline struct vcpu *ec_domain_vcpu(struct domain *d, unsigned id)
{
	return id < d->max_vcpus ? d->vcpu[id] : NULL;
}

/** ec_select_word() - tell @v that word @sel of the 2-level bitmap has something. */
void ec_select_word(struct vcpu *v, unsigned sel);

/* core/evtchn_2l.c */
static inline bool ec_2l_set_pending(struct domain *d, struct vcpu *v, evtchn_port_t port)
{
	uint64_t bit = 1ULL << port % 64;

	if (port >= EVTCHN_2L_NR_CHANNELS)
		return false;
	if (__atomic_fetch_or(&d->shared->evtchn_pending[port / 64], bit, __ATOMIC_SEQ_CST) & bit)
		return false;
	/* PAIRS: ec_2l_mask */
	if (!(__atomic_load_n(&d->shared->evtchn_mask[port / 64], __ATOMIC_SEQ_CST) & bit))
		ec_select_word(v, port / 64);
	return true;
}
void ec_2l_clear_pending(struct domain *d, evtchn_port_t port);
void ec_2l_unmask(struct domain *d, struct vcpu *v, evtchn_port_t port);
bool ec_2l_is_pending(struct domain *d, evtchn_port_t port);

/* core/evtchn_fifo.c */
bool ec_fifo_set_pending(struct domain *d, struct evtchn *e, evtchn_port_t port);
void ec_fifo_clear_pending(struct domain *d, struct evtchn *e, evtchn_port_t port);
void ec_fifo_unmask(struct domain *d, struct evtchn *e, evtchn_port_t port);
bool ec_fifo_is_pending(struct domain *d, struct evtchn *e, evtchn_port_t port);
/** ec_fifo_is_linked() - the guest has not consumed it yet: the port must not be reused. */
bool ec_fifo_is_linked(struct domain *d, evtchn_port_t port);
void ec_fifo_backlog(struct vcpu *v);

/* core/evtchn_fifo_setup.c */
void ec_fifo_detach(struct domain *d);
void ec_fifo_free(struct domain *d);

#endif
