/* SPDX-License-Identifier: MIT */
/* Two magazines per pCPU; see page_cache.h. */
#include "percpu/page_cache.h"

#include "memsvc/frame.h"

static void count(_Atomic uint64_t *c)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static mfn_t mag_pop(struct magazine *m)
{
	mfn_t f = MFN(m->head);

	m->head = atomic_load_explicit(&page_of(f)->next, memory_order_relaxed);
	m->n--;
	return f;
}

mfn_t page_cache_get(struct page_cache *c)
{
	struct magazine *m = &c->mag[0];

	if (unlikely(!m->n)) {
		if (c->mag[1].n) {
			*m = c->mag[1];
			c->mag[1].n = 0;
		} else if (c->bump_next == c->bump_end && !depot_pop(m) &&
			   !frames_bump(&c->bump_next, &c->bump_end)) {
			return INVALID_MFN;
		}
	}
	count(&c->allocs);
	if (likely(m->n))
		return mag_pop(m);
	frame_record_init(MFN(c->bump_next));
	return MFN(c->bump_next++);
}

void page_cache_put(struct page_cache *c, mfn_t f)
{
	struct magazine *m = &c->mag[0];

	if (unlikely(m->n == MAGAZINE_SIZE)) {
		if (c->mag[1].n)
			depot_push(&c->mag[1]);
		c->mag[1] = *m;
		m->n = 0;
	}
	atomic_store_explicit(&page_of(f)->next, m->head, memory_order_relaxed);
	m->head = f.v;
	m->n++;
	count(&c->frees);
}

void page_cache_drain(struct page_cache *c)
{
	for (unsigned i = 0; i < 2; i++) {
		if (c->mag[i].n)
			depot_push(&c->mag[i]);
		c->mag[i].n = 0;
	}
	while (c->bump_next != c->bump_end) {
		struct magazine *m = &c->mag[0];

		frame_record_init(MFN(c->bump_next));
		atomic_store_explicit(&page_of(MFN(c->bump_next))->next, m->head,
				      memory_order_relaxed);
		m->head = c->bump_next++;
		m->n++;
	}
	if (c->mag[0].n)
		depot_push(&c->mag[0]);
	c->mag[0].n = 0;
}
