/* SPDX-License-Identifier: MIT */
/*
 * Bounded queues between pCPUs, on ConcurrencyKit's ck_ring: single or many producers, one consumer.
 *
 * Invariant, linearization, orders: ck_ring's (SPSC: the store of the producer index; MPSC: the
 *   store of the committed index, after a CAS reserved the slot). A consumer sees the whole element.
 *   An MPSC producer stopped between reservation and commit holds up elements behind its own:
 *   bounded here, because the hypervisor does not preempt itself.
 * Reclamation: elements are copied in and out; the buffer is part of the queue.
 *
 * QUEUE_TYPED(name, tag, slots): struct name##_queue of struct @tag (@slots a power of two; slots - 1 elements
 * fit) and name##_queue_init, _put_spsc, _put_mpsc, _get, _len. One queue uses one kind of put.
 */
#ifndef IORING_QUEUE_H
#define IORING_QUEUE_H

#include <ck_ring.h>

#include "core/types.h"

#define QUEUE_TYPED(name, tag, slots)                                                   \
	_Static_assert(((slots) & ((slots)-1)) == 0, "power of two");                   \
	struct name##_queue {                                                           \
		struct ck_ring ring CACHE_ALIGNED;                                      \
		struct tag buf[slots] CACHE_ALIGNED;                                    \
	};                                                                              \
	CK_RING_PROTOTYPE(name, tag)                                                    \
	static inline void name##_queue_init(struct name##_queue *q)                    \
	{                                                                               \
		ck_ring_init(&q->ring, (slots));                                        \
	}                                                                               \
	static inline bool name##_queue_put_spsc(struct name##_queue *q, struct tag *e) \
	{                                                                               \
		return ck_ring_enqueue_spsc_##name(&q->ring, q->buf, e);                \
	}                                                                               \
	static inline bool name##_queue_put_mpsc(struct name##_queue *q, struct tag *e) \
	{                                                                               \
		return ck_ring_enqueue_mpsc_##name(&q->ring, q->buf, e);                \
	}                                                                               \
	static inline bool name##_queue_get(struct name##_queue *q, struct tag *e)      \
	{                                                                               \
		return ck_ring_dequeue_spsc_##name(&q->ring, q->buf, e);                \
	}                                                                               \
	static inline unsigned name##_queue_len(struct name##_queue *q)                 \
	{                                                                               \
		return ck_ring_size(&q->ring);                                          \
	}

#endif
