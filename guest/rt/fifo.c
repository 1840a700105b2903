/* SPDX-License-Identifier: MIT */
/*
 * FIFO events: one event word per port in an array of pages, one control
 * block per vCPU with a queue head per priority.
 */
#include "rt/fifo.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/smp.h"
#include <stdatomic.h>

#define WORDS_PER_PAGE 1024u
#define ARRAY_PAGES (MAX_PORTS / WORDS_PER_PAGE)

bool events_fifo;
static _Atomic event_word_t *array[ARRAY_PAGES];
static _Atomic unsigned int array_pages;
static atomic_flag growing = ATOMIC_FLAG_INIT;
static struct evtchn_fifo_control_block *control[MAX_VCPUS];
static uint32_t local_head[MAX_VCPUS][EVTCHN_FIFO_MAX_QUEUES];

static _Atomic event_word_t *word(uint32_t port)
{
	static _Atomic event_word_t none;

	if (port / WORDS_PER_PAGE >= atomic_load(&array_pages))
		return &none;
	return &array[port / WORDS_PER_PAGE][port % WORDS_PER_PAGE];
}

bool fifo_pending(uint32_t port)
{
	return atomic_load(word(port)) >> EVTCHN_FIFO_PENDING & 1;
}

bool fifo_masked(uint32_t port)
{
	return atomic_load(word(port)) >> EVTCHN_FIFO_MASKED & 1;
}

void fifo_clear(uint32_t port)
{
	atomic_fetch_and(word(port), ~(1u << EVTCHN_FIFO_PENDING));
}

void fifo_mask(uint32_t port)
{
	atomic_fetch_or(word(port), 1u << EVTCHN_FIFO_MASKED);
}

/* Take the link out of a word; LINKED goes, and with it the hypervisor's hold. */
static uint32_t unlink_word(_Atomic event_word_t *w)
{
	event_word_t old = atomic_load(w), new;

	do
		new = old & ~((1u << EVTCHN_FIFO_LINKED) | EVTCHN_FIFO_LINK_MASK);
	while (!atomic_compare_exchange_weak(w, &old, new));
	return old & EVTCHN_FIFO_LINK_MASK;
}

static void consume(struct cpu *c, uint32_t prio, uint32_t *ready, void (*dispatch)(uint32_t))
{
	uint32_t *head = &local_head[c->id][prio];
	uint32_t port = *head;
	_Atomic event_word_t *w;
	event_word_t v;

	/* Our queue was empty: the hypervisor wrote a new head. */
	if (!port)
		port = atomic_load_explicit((_Atomic uint32_t *)&control[c->id]->head[prio],
					    memory_order_acquire);
	w = word(port);
	*head = unlink_word(w);
	if (!*head)
		*ready &= ~(1u << prio);
	v = atomic_load(w);
	if (v >> EVTCHN_FIFO_PENDING & 1 && !(v >> EVTCHN_FIFO_MASKED & 1)) {
		fifo_clear(port);
		dispatch(port);
	}
}

void fifo_handle(struct cpu *c, void (*dispatch)(uint32_t port))
{
	_Atomic uint32_t *shared = (_Atomic uint32_t *)&control[c->id]->ready;
	uint32_t ready = atomic_exchange(shared, 0);

	while (ready) {
		consume(c, (uint32_t)__builtin_ctz(ready), &ready, dispatch);
		ready |= atomic_exchange(shared, 0);
	}
}

/* One page of event words more. Under the lock. */
static long grow(void)
{
	struct evtchn_expand_array e = {0};
	unsigned int n = atomic_load(&array_pages);
	void *page;
	long rc;

	if (n == ARRAY_PAGES)
		return -XEN_ENOSPC;
	page = page_alloc();
	/* As Linux does: no word may be unmasked before its port is bound. */
	for (unsigned int i = 0; i < WORDS_PER_PAGE; i++)
		((uint32_t *)page)[i] = 1u << EVTCHN_FIFO_MASKED;
	e.array_gfn = virt_to_mfn(page);
	rc = hc_evtchn(EVTCHNOP_expand_array, &e);
	if (rc) {
		page_free(page);
		return rc;
	}
	array[n] = page;
	atomic_store(&array_pages, n + 1);
	return 0;
}

long fifo_reach(uint32_t port)
{
	unsigned long spins = 0;
	long rc = 0;
	bool was;

	if (port / WORDS_PER_PAGE < atomic_load(&array_pages))
		return 0;
	was = events_save_mask();
	while (atomic_flag_test_and_set(&growing))
		spin_wait(&spins);
	while (!rc && port / WORDS_PER_PAGE >= atomic_load(&array_pages))
		rc = grow();
	atomic_flag_clear(&growing);
	events_restore_mask(was);
	return rc;
}

long fifo_init_vcpu(unsigned int vcpu)
{
	struct evtchn_init_control ic = {.vcpu = vcpu};
	void *page = page_alloc();
	long rc;

	ic.control_gfn = virt_to_mfn(page);
	rc = hc_evtchn(EVTCHNOP_init_control, &ic);
	if (!rc)
		control[vcpu] = page;
	return rc;
}

long events_use_fifo(void)
{
	long rc = fifo_init_vcpu(0);

	if (rc)
		return rc;
	events_fifo = true;
	rc = fifo_reach(0);
	for (unsigned int i = 1; !rc && i < nr_cpus; i++)
		rc = fifo_init_vcpu(i);
	return rc;
}
