/* SPDX-License-Identifier: MIT */
/*
 * Per-pCPU inbox: the only way by which one pCPU asks another one to act on its private state.
 * Multi-producer, single-consumer, intrusive; lock-free to post, wait-free to drain.
 *
 * Structure: a LIFO of messages, pushed by CAS on `head`, taken as a whole by one exchange and
 * reversed by the owner, so messages of one sender run in the order in which they were posted.
 * Invariant: a message is in at most one inbox; from inbox_post() until its fn is entered it
 *   belongs to the inbox, afterwards to fn (which may post it again or free it).
 * Linearization: post at the successful CAS; drain at the exchange.
 * Orders: the CAS releases the message's contents (and everything the sender did before); the
 *   exchange acquires them. PAIRS: inbox_publish. The kick is sent only by the post that found the
 *   inbox empty: later posts find it non-empty, so the consumer has not taken the batch yet and
 *   the first kick (still on its way, or acted on by a drain that comes later) covers them too.
 *   The consumer, after having been kicked, drains until a look at `head` shows it empty.
 * ABA: cannot occur: nodes leave only all at once.
 * Reclamation: by the owner of the message, in or after fn.
 */
#ifndef PERCPU_INBOX_H
#define PERCPU_INBOX_H

#include "core/types.h"

struct inbox_msg {
	struct inbox_msg *next;
	void (*fn)(struct inbox_msg *msg);
};

struct inbox {
	_Atomic(struct inbox_msg *) head;
};

/** inbox_push() - push without kicking; true when the inbox was empty. Any context. */
bool inbox_push(struct inbox *in, struct inbox_msg *msg);

/**
 * inbox_take() - detach all messages, oldest first, linked by next. Owner only. The caller must
 * read ->next before it calls ->fn.
 */
struct inbox_msg *inbox_take(struct inbox *in);

static inline bool inbox_pending(struct inbox *in)
{
	return atomic_load_explicit(&in->head, memory_order_relaxed) != NULL;
}

/**
 * inbox_post() - have msg->fn(msg) run on pCPU @cpu, from its exit path or idle loop (interrupts
 * off, RCU-online). Any pCPU, any context, also to oneself. @msg must not be in an inbox already.
 * Messages of one sender to one pCPU run in order. Never fails.
 */
void inbox_post(unsigned cpu, struct inbox_msg *msg);

/** inbox_drain() - run all messages posted to this pCPU so far. Exit path only. */
void inbox_drain(void);

#endif
