/* SPDX-License-Identifier: MIT */
/* Timer heaps: pairing heaps ordered by expiry, one per pCPU. */
#include "percpu/timer.h"

#include "percpu/pcpu.h"

static struct timer *meld(struct timer *a, struct timer *b)
{
	if (!a)
		return b;
	if (!b)
		return a;
	if (b->expires_ns < a->expires_ns) {
		struct timer *t = a;

		a = b;
		b = t;
	}
	b->sibling = a->child;
	if (b->sibling)
		b->sibling->prev = b;
	b->prev = a;
	a->child = b;
	return a;
}

/* The children of a removed root become one heap: pairs left to right, then right to left. */
static struct timer *meld_children(struct timer *first)
{
	struct timer *pairs = NULL;
	struct timer *root = NULL;

	while (first) {
		struct timer *a = first;
		struct timer *b = a->sibling;

		first = b ? b->sibling : NULL;
		a->sibling = NULL;
		if (b)
			b->sibling = NULL;
		a = meld(a, b);
		a->sibling = pairs;
		pairs = a;
	}
	while (pairs) {
		struct timer *next = pairs->sibling;

		pairs->sibling = NULL;
		root = meld(root, pairs);
		pairs = next;
	}
	if (root)
		root->prev = NULL;
	return root;
}

static void heap_remove(struct timer_heap *h, struct timer *t)
{
	struct timer *sub = meld_children(t->child);

	if (h->root == t) {
		h->root = sub;
	} else {
		if (t->prev->child == t)
			t->prev->child = t->sibling;
		else
			t->prev->sibling = t->sibling;
		if (t->sibling)
			t->sibling->prev = t->prev;
		h->root = meld(h->root, sub);
	}
	t->child = t->sibling = t->prev = NULL;
	t->armed = false;
}

static void program(struct timer_heap *h)
{
	uint64_t next = timer_heap_next(h);

	if (h->running || next == h->programmed_ns)
		return;
	h->programmed_ns = next;
	arch_set_deadline(next);
}

void timer_init(struct timer *t, void (*fn)(struct timer *t, uint64_t now_ns))
{
	*t = (struct timer){.expires_ns = TIME_NEVER, .fn = fn};
}

void timer_arm(struct timer *t, uint64_t ns)
{
	struct pcpu *p = this_pcpu();
	struct timer_heap *h = &p->timers;

	if (t->armed) {
		if (t->expires_ns == ns && t->cpu == p->id)
			return;
		BUG_ON(t->cpu != p->id);
		heap_remove(h, t);
	}
	t->expires_ns = ns;
	t->cpu = (uint16_t)p->id;
	t->armed = true;
	h->root = meld(h->root, t);
	h->root->prev = NULL;
	program(h);
}

void timer_disarm(struct timer *t)
{
	struct pcpu *p = this_pcpu();

	if (!t->armed)
		return;
	BUG_ON(t->cpu != p->id);
	heap_remove(&p->timers, t);
	program(&p->timers);
}

void timers_run(uint64_t now)
{
	struct pcpu *p = this_pcpu();
	struct timer_heap *h = &p->timers;

	p->work &= ~WORK_TIMER;
	if (timer_heap_next(h) > now) {
		program(h);
		return;
	}
	h->running = true;
	while (timer_heap_next(h) <= now) {
		struct timer *t = h->root;

		heap_remove(h, t);
		t->fn(t, now);
	}
	h->running = false;
	/* The deadline that brought us here has been used up: set the next one in any case. */
	h->programmed_ns = timer_heap_next(h);
	arch_set_deadline(h->programmed_ns);
}

uint64_t timers_next(void)
{
	return timer_heap_next(&this_pcpu()->timers);
}
