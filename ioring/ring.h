/* SPDX-License-Identifier: MIT */
/*
 * Request/response rings over shared memory, layout-compatible with <xen/io/ring.h>: four
 * free-running indexes in a 64-byte header, then slots that hold a request or the response to an
 * earlier one. The front writes requests and takes responses; the back does the reverse.
 *
 * The other side is not trusted: indexes of ours are kept privately and only published; theirs are
 * read once per step and checked; what they wrote is handed out as a private copy. Nonsense yields
 * RING_BROKEN and changes nothing.
 *
 * Invariants (indexes mod 2^32, n slots): rsp_prod <= req_cons <= req_prod <= rsp_cons + n, with
 *   rsp_cons <= rsp_prod. So a slot is written by one side at a time.
 * Linearization: passing messages on at the store of req_prod or rsp_prod.
 * Orders: the store of a prod releases the slots before it, its load acquires them (PAIRS: ring_req,
 *   PAIRS: ring_rsp). Reusing a slot needs no more: the back has read request i before it publishes
 *   response i, in the same slot, and the front has read that before it writes request i + n.
 * Notification avoidance: a producer publishes prod, then reads event, and notifies when event lies
 *   in what it has just published. A consumer that found nothing sets event = cons + batch, then
 *   looks at prod once more before it sleeps. Store and load are both seq_cst on both sides, so one
 *   of the two sees the other's store: no sleeping on a full ring. PAIRS: ring_event.
 * Reclamation: none; the memory is the caller's.
 */
#ifndef IORING_RING_H
#define IORING_RING_H

#include "core/lib.h"
#include "core/types.h"

#define RING_BROKEN (-1)

/* The header of struct NAME_sring; slots follow. */
struct ring_shared {
	_Atomic uint32_t req_prod, req_event;
	_Atomic uint32_t rsp_prod, rsp_event;
	uint8_t pad[48];
};
_Static_assert(sizeof(struct ring_shared) == 64, "layout of <xen/io/ring.h>");

struct ring_front {
	struct ring_shared *s;
	uint32_t nr;	   /* slots, a power of two */
	uint32_t slot;	   /* bytes per slot */
	uint32_t req_prod; /* ours, published by push */
	uint32_t rsp_cons;
};

struct ring_back {
	struct ring_shared *s;
	uint32_t nr, slot;
	uint32_t rsp_prod;
	uint32_t req_cons;
};

static inline void *ring_slot(struct ring_shared *s, uint32_t nr, uint32_t slot, uint32_t i)
{
	return (char *)(s + 1) + (size_t)(i & (nr - 1)) * slot;
}

/** ring_slots() - how many slots of @slot bytes a shared area of @bytes holds (power of two). */
static inline uint32_t ring_slots(size_t bytes, uint32_t slot)
{
	size_t n = (bytes - sizeof(struct ring_shared)) / slot;

	return n ? 1u << (31 - __builtin_clz((uint32_t)n)) : 0;
}

/** ring_front_attach() - take up an existing ring; nothing is outstanding. @bytes: shared area. */
static inline void ring_front_attach(struct ring_front *f, void *shared, size_t bytes,
				     uint32_t slot)
{
	uint32_t at = atomic_load(&((struct ring_shared *)shared)->rsp_prod);

	*f = (struct ring_front){shared, ring_slots(bytes, slot), slot, at, at};
}

/** ring_front_init() - initialise the shared area (the front's task) and attach. */
static inline void ring_front_init(struct ring_front *f, void *shared, size_t bytes, uint32_t slot)
{
	struct ring_shared *s = shared;

	memset(s, 0, sizeof(*s));
	atomic_store(&s->req_event, 1);
	atomic_store(&s->rsp_event, 1);
	ring_front_attach(f, shared, bytes, slot);
}

/** ring_back_attach() - the back's side; takes up behind the last response. */
static inline void ring_back_attach(struct ring_back *b, void *shared, size_t bytes, uint32_t slot)
{
	uint32_t at = atomic_load(&((struct ring_shared *)shared)->rsp_prod);

	*b = (struct ring_back){shared, ring_slots(bytes, slot), slot, at, at};
}

/* Publish @new in @prod (old value @old); whether the consumer asked to be notified. */
static inline bool ring_publish(_Atomic uint32_t *prod, _Atomic uint32_t *event, uint32_t old,
				uint32_t new)
{
	/* PAIRS: ring_req, PAIRS: ring_rsp, PAIRS: ring_event */
	atomic_store(prod, new);
	return (uint32_t)(new - atomic_load(event)) < (uint32_t)(new - old);
}

/* ---- front ---- */

/** ring_front_free() - requests that can be put now. */
static inline uint32_t ring_front_free(const struct ring_front *f)
{
	return f->nr - (f->req_prod - f->rsp_cons);
}

/** ring_front_put() - copy one request in; false when the ring is full. Not yet visible. */
static inline bool ring_front_put(struct ring_front *f, const void *req, size_t len)
{
	if (!ring_front_free(f))
		return false;
	memcpy(ring_slot(f->s, f->nr, f->slot, f->req_prod++), req, len);
	return true;
}

/** ring_front_push() - publish what was put since @old_prod, the value of f->req_prod at the last
 * push; true: notify the back. */
static inline bool ring_front_push(struct ring_front *f, uint32_t old_prod)
{
	return ring_publish(&f->s->req_prod, &f->s->req_event, old_prod, f->req_prod);
}

/** ring_front_pending() - responses to be taken, or RING_BROKEN: more than requests are out. */
static inline int ring_front_pending(const struct ring_front *f)
{
	/* PAIRS: ring_rsp */
	uint32_t n = atomic_load(&f->s->rsp_prod) - f->rsp_cons;

	return n > f->req_prod - f->rsp_cons ? RING_BROKEN : (int)n;
}

/** ring_front_get() - private copy of the next response: 1, 0 when there is none, RING_BROKEN. */
static inline int ring_front_get(struct ring_front *f, void *rsp, size_t len)
{
	int n = ring_front_pending(f);

	if (n <= 0)
		return n;
	memcpy(rsp, ring_slot(f->s, f->nr, f->slot, f->rsp_cons++), len);
	return 1;
}

/**
 * ring_front_sleep() - ask for a notification when @batch more responses (1: the next) are there,
 * then look again. Returns what is pending now; sleep only on 0. RING_BROKEN as above.
 */
static inline int ring_front_sleep(struct ring_front *f, uint32_t batch)
{
	/* PAIRS: ring_event */
	atomic_store(&f->s->rsp_event, f->rsp_cons + batch);
	return ring_front_pending(f);
}

/* ---- back ---- */

/** ring_back_pending() - requests to be taken (those whose response has a slot), RING_BROKEN. */
static inline int ring_back_pending(const struct ring_back *b)
{
	/* PAIRS: ring_req */
	uint32_t prod = atomic_load(&b->s->req_prod);

	/* More than n ahead of our responses would overwrite requests in service. */
	return prod - b->rsp_prod > b->nr || prod - b->req_cons > b->nr ? RING_BROKEN
									: (int)(prod - b->req_cons);
}

/** ring_back_get() - private copy of the next request: 1, 0 when there is none, RING_BROKEN. */
static inline int ring_back_get(struct ring_back *b, void *req, size_t len)
{
	int n = ring_back_pending(b);

	if (n <= 0)
		return n;
	memcpy(req, ring_slot(b->s, b->nr, b->slot, b->req_cons++), len);
	return 1;
}

/** ring_back_put() - copy one response in; false when no request is unanswered. Not yet visible. */
static inline bool ring_back_put(struct ring_back *b, const void *rsp, size_t len)
{
	if (b->rsp_prod == b->req_cons)
		return false;
	memcpy(ring_slot(b->s, b->nr, b->slot, b->rsp_prod++), rsp, len);
	return true;
}

/** ring_back_push() - publish responses put since @old_prod; true: notify the front. */
static inline bool ring_back_push(struct ring_back *b, uint32_t old_prod)
{
	return ring_publish(&b->s->rsp_prod, &b->s->rsp_event, old_prod, b->rsp_prod);
}

/** ring_back_sleep() - as ring_front_sleep(), for requests. */
static inline int ring_back_sleep(struct ring_back *b, uint32_t batch)
{
	/* PAIRS: ring_event */
	atomic_store(&b->s->req_event, b->req_cons + batch);
	return ring_back_pending(b);
}

/*
 * RING_TYPED() - typed names for one protocol: NAME_front_put(f, const REQ *), NAME_front_get(f,
 * RSP *), NAME_back_get(b, REQ *), NAME_back_put(b, const RSP *), NAME_ring_slot_size.
 */
#define RING_TYPED(name, req_t, rsp_t)                                              \
	enum {                                                                      \
		name##_ring_slot_size = sizeof(union {                              \
			req_t req;                                                  \
			rsp_t rsp;                                                  \
		})                                                                  \
	};                                                                          \
	static inline bool name##_front_put(struct ring_front *f, const req_t *req) \
	{                                                                           \
		return ring_front_put(f, req, sizeof(*req));                        \
	}                                                                           \
	static inline int name##_front_get(struct ring_front *f, rsp_t *rsp)        \
	{                                                                           \
		return ring_front_get(f, rsp, sizeof(*rsp));                        \
	}                                                                           \
	static inline int name##_back_get(struct ring_back *b, req_t *req)          \
	{                                                                           \
		return ring_back_get(b, req, sizeof(*req));                         \
	}                                                                           \
	static inline bool name##_back_put(struct ring_back *b, const rsp_t *rsp)   \
	{                                                                           \
		return ring_back_put(b, rsp, sizeof(*rsp));                         \
	}

#endif
