/* SPDX-License-Identifier: MIT */
/* The FIFO ABI's state of a domain; shared by core/evtchn_fifo.c and core/evtchn_fifo_setup.c. */
#ifndef CORE_EVTCHN_FIFO_H
#define CORE_EVTCHN_FIFO_H

#include "core/evtchn_internal.h"

#define EF_PENDING (1u << EVTCHN_FIFO_PENDING)
#define EF_MASKED (1u << EVTCHN_FIFO_MASKED)
#define EF_LINKED (1u << EVTCHN_FIFO_LINKED)
#define EF_BUSY (1u << EVTCHN_FIFO_BUSY)
#define EF_LINK_MASK ((uint32_t)EVTCHN_FIFO_LINK_MASK)

#define EF_WORDS_PER_PAGE (PAGE_SIZE / sizeof(event_word_t))
#define EF_PAGES (EVTCHN_FIFO_NR_CHANNELS / EF_WORDS_PER_PAGE)
#define EF_VCPUS_PER_PAGE 4u

/* The submission stack's word: state and newest port, see core/evtchn_fifo.c. */
#define EQ_OWNED (1u << 31)
#define EQ_HANDOFF (1u << 30)
#define EQ_PORT(s) ((s)&EF_LINK_MASK)

/* Submissions that found the queue owned by another pCPU; queues left to the receiver. */
extern struct counter evtchn_fifo_busy, evtchn_fifo_handoffs;

/* A queue: one priority of one vCPU. */
struct evtchn_queue {
	_Atomic uint32_t stack; /* EQ_ flag and the newest submitted port, see evtchn_fifo.c */
	uint32_t tail;		/* owner only: last port linked; may have been consumed since */
} CACHE_ALIGNED;
_Static_assert(sizeof(struct evtchn_queue) * EVTCHN_FIFO_MAX_QUEUES * EF_VCPUS_PER_PAGE ==
		       PAGE_SIZE,
	       "a page of queues");

/* A page. Lives until the domain is freed; the guest pages in it come and go with reset. */
struct evtchn_fifo {
	_Atomic(event_word_t *) array[EF_PAGES];
	_Atomic(evtchn_fifo_control_block_t *) cb[MAX_VCPUS];
	struct evtchn_queue *queues[MAX_VCPUS / EF_VCPUS_PER_PAGE]; /* fixed once published */
};
_Static_assert(sizeof(struct evtchn_fifo) <= PAGE_SIZE, "one page");

static inline event_word_t *ef_word(struct evtchn_fifo *f, evtchn_port_t port)
{
	event_word_t *page;

	if (port >= EVTCHN_FIFO_NR_CHANNELS)
		return NULL;
	page = atomic_load(&f->array[port / EF_WORDS_PER_PAGE]);
	return page ? page + port % EF_WORDS_PER_PAGE : NULL;
}

#endif
