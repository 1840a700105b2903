/* SPDX-License-Identifier: MIT */
/*
 * The FIFO ABI: per vCPU 16 queues (priorities) of event words linked through their LINK fields.
 * The guest takes from the head; we append behind the tail, which only we know.
 *
 * Appending must be done by one at a time: it reads the tail, links the tail's word, and replaces
 * the tail, and a tail that was consumed may be on its way into another queue. Instead of a lock,
 * each queue has a submission stack, and whoever submits to an idle one owns the queue until the
 * stack is empty again; the others push their port and go. Nobody waits for anybody.
 *
 * stack: 0 idle; EQ_OWNED | newest port (0: none) | EQ_HANDOFF | newest port: nobody owns it, but
 *   ports are left, and the next submitter or the receiving vCPU becomes the owner. An owner gives
 *   up like this after EQ_BUDGET ports, so that senders on other pCPUs cannot keep it for ever.
 * Invariants:
 *  F1 Only the owner of a queue touches its tail, its head, and sets LINKED in words of ports whose
 *     lastq names it.
 *  F2 A port leaves lastq only by that queue's owner, only when it is not LINKED, and after it has
 *     ceased to be that queue's tail. So a tail whose word is LINKED is linked on this queue, and
 *     appending to it is right; if it is not LINKED, the guest has consumed it and the queue is
 *     empty.
 *  F3 `queued` is set while a port is on a stack (or in the list of ports to be moved), so its
 *     `next` has one user.
 * Linearization: an event is queued at the CAS on the tail's word, or at the store of head.
 * Orders: all RMWs are seq_cst. A submitter sets PENDING before it looks at `queued`; the owner
 *   clears `queued` before it looks at the word: an event whose submitter left is seen.
 *   PAIRS: ec_queued. Ownership passes tail: the release CAS to the acquiring one. PAIRS: eq_own.
 *   head is stored before the READY bit is set; the guest reads them the other way round.
 *   Guest: takes LINKED and the link off a word in one CAS, so an append either precedes it (the
 *   guest follows the link) or fails (we start the queue anew through head).
 * Progress: lock-free; work of one call is bounded by the budgets below.
 * Reclamation: with the domain; event words and control blocks are guest pages pinned till then.
 */
#include "core/evtchn_fifo.h"

#define EQ_BUDGET 128
#define EQ_MOVES 256
#define LINK_TRIES 4
#define LINK_TRIES_BUSY 64

struct counter evtchn_fifo_busy = {.name = "evtchn_fifo_busy"};
struct counter evtchn_fifo_handoffs = {.name = "evtchn_fifo_handoffs"};

static struct evtchn_fifo *fifo_of(struct domain *d)
{
	return atomic_load_explicit(&d->evt.fifo, memory_order_acquire);
}

static unsigned qi_of(unsigned vcpu, unsigned prio)
{
	return vcpu * EVTCHN_FIFO_MAX_QUEUES + prio;
}

static struct evtchn_queue *queue(struct evtchn_fifo *f, unsigned qi)
{
	const unsigned per_page = EF_VCPUS_PER_PAGE * EVTCHN_FIFO_MAX_QUEUES;

	return f->queues[qi / per_page] + qi % per_page;
}

/*
 * Make @link follow @tail if that is still linked. The guest may be changing the same word (mask,
 * unlink); after a few tries BUSY asks it to leave the mask bit alone. When it keeps changing the
 * word all the same, the link is given up: the guest has broken its own queue.
 */
static bool append(struct evtchn_fifo *f, evtchn_port_t tail, evtchn_port_t link)
{
	event_word_t *word = ef_word(f, tail);
	uint32_t w;
	CAS_LOOP(loop, "event word, link");

	if (!word)
		return false;
	w = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < LINK_TRIES + LINK_TRIES_BUSY; i++) {
		if (i == LINK_TRIES)
			w = __atomic_or_fetch(word, EF_BUSY, __ATOMIC_SEQ_CST);
		if (!(w & EF_LINKED)) {
			if (i >= LINK_TRIES)
				__atomic_fetch_and(word, ~EF_BUSY, __ATOMIC_SEQ_CST);
			return false;
		}
		if (__atomic_compare_exchange_n(word, &w, (w & ~(EF_BUSY | EF_LINK_MASK)) | link,
						false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
		retry(&loop);
	}
	__atomic_fetch_and(word, ~EF_BUSY, __ATOMIC_SEQ_CST);
	return true;
}

static void move_later(struct evtchn *e, evtchn_port_t port, evtchn_port_t *moved)
{
	/* F3: when it is on a stack already, that queue's owner sees to it. */
	if (atomic_exchange(&e->queued, true))
		return;
	atomic_store_explicit(&e->next, *moved, memory_order_relaxed);
	*moved = port;
}

/* As owner of queue @qi: link @port if it is due, or find that it belongs elsewhere. */
static void link_port(struct domain *d, struct evtchn_fifo *f, unsigned qi, evtchn_port_t port,
		      evtchn_port_t *moved)
{
	struct evtchn *e = ec_lookup(d, port);
	struct evtchn_queue *q = queue(f, qi);
	unsigned prio = qi % EVTCHN_FIFO_MAX_QUEUES, vcpu = qi / EVTCHN_FIFO_MAX_QUEUES, target;
	event_word_t *word = ef_word(f, port);
	evtchn_fifo_control_block_t *cb;
	uint64_t state;
	uint32_t w;

	if (atomic_load(&e->lastq) != qi) {
		move_later(e, port, moved);
		return;
	}
	state = atomic_load(&e->state);
	if (!word || ec_kind(state) == EC_FREE || ec_kind(state) == EC_CLOSING)
		return;
	w = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	if ((w & (EF_PENDING | EF_MASKED | EF_LINKED)) != EF_PENDING)
		return;
	target = qi_of(ec_vcpu(state), atomic_load_explicit(&e->priority, memory_order_relaxed));
	if (target != qi) {
		/* F2 */
		if (q->tail == port)
			q->tail = 0;
		atomic_store(&e->lastq, target);
		move_later(e, port, moved);
		return;
	}
	cb = atomic_load(&f->cb[vcpu]);
	if (!cb || (__atomic_fetch_or(word, EF_LINKED, __ATOMIC_SEQ_CST) & EF_LINKED))
		return;
	if (q->tail == port)
		q->tail = 0;
	if (!q->tail || !append(f, q->tail, port)) {
		__atomic_store_n(&cb->head[prio], port, __ATOMIC_RELEASE);
		q->tail = port;
		if (!(__atomic_fetch_or(&cb->ready, 1u << prio, __ATOMIC_SEQ_CST) & 1u << prio))
			vcpu_mark_events_pending(d->vcpu[vcpu]);
	} else {
		q->tail = port;
	}
}

/* Oldest first; the ports are ours (F3). */
static evtchn_port_t reverse(struct domain *d, evtchn_port_t list)
{
	evtchn_port_t out = 0, next;

	for (; list; list = next) {
		struct evtchn *e = ec_lookup(d, list);

		next = atomic_load_explicit(&e->next, memory_order_relaxed);
		atomic_store_explicit(&e->next, out, memory_order_relaxed);
		out = list;
	}
	return out;
}

/* Have @v take up a queue on its way into the guest; if it is there, by an interrupt. */
static void hand_to_receiver(struct vcpu *v)
{
	atomic_store(&v->evt.fifo_backlog, true);
	if (v == this_pcpu()->current)
		arch_kick(this_pcpu()->id);
	vcpu_kick_for_event(v);
}

/* As owner of queue @qi: link what was submitted, until nothing is left or the budget is used. */
static void drain(struct domain *d, struct evtchn_fifo *f, unsigned qi, evtchn_port_t *moved)
{
	struct evtchn_queue *q = queue(f, qi);
	unsigned done = 0;
	CAS_LOOP(loop, "event queue, hand over");

	for (;;) {
		uint32_t s = EQ_OWNED;
		evtchn_port_t p, next;

		/* PAIRS: eq_own */
		if (atomic_compare_exchange_strong(&q->stack, &s, 0))
			return;
		if (done >= EQ_BUDGET) {
			/* PAIRS: eq_own */
			if (!atomic_compare_exchange_strong(&q->stack, &s,
							    EQ_HANDOFF | EQ_PORT(s))) {
				retry(&loop);
				continue;
			}
			retry_done(&loop);
			counter_inc(&evtchn_fifo_handoffs);
			hand_to_receiver(d->vcpu[qi / EVTCHN_FIFO_MAX_QUEUES]);
			return;
		}
		for (p = reverse(d, EQ_PORT(atomic_exchange(&q->stack, EQ_OWNED))); p; p = next) {
			struct evtchn *e = ec_lookup(d, p);

			next = atomic_load_explicit(&e->next, memory_order_relaxed);
			/* PAIRS: ec_queued */
			atomic_exchange(&e->queued, false);
			link_port(d, f, qi, p, moved);
			done++;
		}
	}
}

/* Put @port, which is ours (F3), on queue @qi's stack; true when that made us the owner. */
static bool submit(struct evtchn_fifo *f, unsigned qi, struct evtchn *e, evtchn_port_t port)
{
	struct evtchn_queue *q = queue(f, qi);
	uint32_t s = atomic_load(&q->stack);
	CAS_LOOP(loop, "event queue, submit");

	do {
		atomic_store_explicit(&e->next, EQ_PORT(s), memory_order_relaxed);
		/* PAIRS: eq_own */
	} while (!atomic_compare_exchange_weak(&q->stack, &s, EQ_OWNED | port) && retry(&loop));
	return !(s & EQ_OWNED);
}

/* Ports that changed queues: submit them there. Bounded: who rebinds a port as fast as we follow
 * it finds it pending but not queued. */
static void resubmit(struct domain *d, struct evtchn_fifo *f, evtchn_port_t moved)
{
	for (unsigned n = 0; moved; n++) {
		evtchn_port_t port = moved;
		struct evtchn *e = ec_lookup(d, port);
		unsigned qi = atomic_load(&e->lastq);

		moved = atomic_load_explicit(&e->next, memory_order_relaxed);
		if (n >= EQ_MOVES)
			atomic_exchange(&e->queued, false);
		else if (submit(f, qi, e, port))
			drain(d, f, qi, &moved);
	}
}

static void enqueue(struct domain *d, struct evtchn_fifo *f, struct evtchn *e, evtchn_port_t port)
{
	unsigned qi = atomic_load(&e->lastq);
	evtchn_port_t moved = 0;
	uint32_t idle = 0;

	/* PAIRS: eq_own: the usual case needs no stack. */
	if (atomic_compare_exchange_strong(&queue(f, qi)->stack, &idle, EQ_OWNED)) {
		link_port(d, f, qi, port, &moved);
		drain(d, f, qi, &moved);
	} else if (!atomic_exchange(&e->queued, true)) { /* PAIRS: ec_queued */
		counter_inc(&evtchn_fifo_busy);
		if (submit(f, qi, e, port))
			drain(d, f, qi, &moved);
	}
	if (moved)
		resubmit(d, f, moved);
}

bool ec_fifo_set_pending(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	struct evtchn_fifo *f = fifo_of(d);
	event_word_t *word = ef_word(f, port);
	uint32_t was;

	if (!word) {
		bool was_early = atomic_exchange(&e->early, true);

		/* PAIRS: ec_fifo_array: who adds the page looks at `early` afterwards. */
		word = ef_word(f, port);
		if (!word)
			return !was_early;
	}
	was = __atomic_fetch_or(word, EF_PENDING, __ATOMIC_SEQ_CST);
	if (!(was & (EF_MASKED | EF_LINKED)))
		enqueue(d, f, e, port);
	return !(was & EF_PENDING);
}

void ec_fifo_clear_pending(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	event_word_t *word = ef_word(fifo_of(d), port);

	atomic_store(&e->early, false);
	if (word)
		__atomic_fetch_and(word, ~EF_PENDING, __ATOMIC_SEQ_CST);
}

void ec_fifo_unmask(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	struct evtchn_fifo *f = fifo_of(d);
	event_word_t *word = ef_word(f, port);

	if (!word)
		return;
	if ((__atomic_fetch_and(word, ~EF_MASKED, __ATOMIC_SEQ_CST) & (EF_PENDING | EF_LINKED)) ==
	    EF_PENDING)
		enqueue(d, f, e, port);
}

bool ec_fifo_is_pending(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	event_word_t *word = ef_word(fifo_of(d), port);

	return word ? __atomic_load_n(word, __ATOMIC_SEQ_CST) & EF_PENDING : atomic_load(&e->early);
}

bool ec_fifo_is_linked(struct domain *d, evtchn_port_t port)
{
	struct evtchn_fifo *f = fifo_of(d);
	event_word_t *word = f ? ef_word(f, port) : NULL;

	return word && (__atomic_load_n(word, __ATOMIC_SEQ_CST) & EF_LINKED);
}

void ec_fifo_backlog(struct vcpu *v)
{
	struct domain *d = v->domain;
	struct evtchn_fifo *f = fifo_of(d);
	evtchn_port_t moved = 0;

	if (!atomic_exchange(&v->evt.fifo_backlog, false))
		return;
	for (unsigned prio = 0; prio < EVTCHN_FIFO_MAX_QUEUES; prio++) {
		unsigned qi = qi_of(v->id, prio);
		struct evtchn_queue *q = queue(f, qi);
		uint32_t s = atomic_load(&q->stack);
		CAS_LOOP(loop, "event queue, take over");

		/* PAIRS: eq_own */
		for (; s & EQ_HANDOFF; retry(&loop))
			if (atomic_compare_exchange_weak(&q->stack, &s, EQ_OWNED | EQ_PORT(s))) {
				retry_done(&loop);
				drain(d, f, qi, &moved);
				break;
			}
	}
	if (moved)
		resubmit(d, f, moved);
}
