/* SPDX-License-Identifier: MIT */
/* The registry of counters. */
#include "percpu/counters.h"

#include "percpu/pcpu.h"

/* Slots are handed out by fetch_add; names[] entries are published by their release store. */
static _Atomic unsigned nr_slots = 1;
static const char *_Atomic names[MAX_COUNTERS];

void counter_register(struct counter *c)
{
	unsigned expected = 0;
	unsigned slot;

	if (__atomic_load_n(&c->slot, __ATOMIC_ACQUIRE))
		return;
	slot = atomic_fetch_add(&nr_slots, 1);
	BUG_ON(slot >= MAX_COUNTERS);
	/* Two pCPUs registering the same counter at once: the loser's slot stays nameless. */
	if (__atomic_compare_exchange_n(&c->slot, &expected, slot, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		atomic_store_explicit(&names[slot], c->name, memory_order_release);
}

static uint64_t slot_sum(unsigned slot)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct pcpu *p = pcpu_get(i);

		if (p)
			sum += atomic_load_explicit(&p->counters.v[slot], memory_order_relaxed);
	}
	return sum;
}

uint64_t counter_sum(const struct counter *c)
{
	return slot_sum(__atomic_load_n(&c->slot, __ATOMIC_ACQUIRE));
}

void counters_visit(void (*fn)(const char *name, uint64_t value, void *arg), void *arg)
{
	unsigned n = MIN(atomic_load(&nr_slots), (unsigned)MAX_COUNTERS);

	for (unsigned i = 1; i < n; i++) {
		const char *name = atomic_load_explicit(&names[i], memory_order_acquire);

		if (name)
			fn(name, slot_sum(i), arg);
	}
}
