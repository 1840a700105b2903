/* SPDX-License-Identifier: MIT */
/* Two magazines per pCPU, and a reserve; see page_cache.h. */
#include "percpu/page_cache.h"

#include "memsvc/frame.h"

_Atomic unsigned page_reserve_size, page_reserve_low;

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

static void mag_push(struct magazine *m, mfn_t f)
{
	atomic_store_explicit(&page_of(f)->next, m->head, memory_order_relaxed);
	m->head = f.v;
	m->n++;
}

static mfn_t get(struct page_cache *c)
{
	struct magazine *m = &c->mag[0];

	if (!m->n) {
		if (c->mag[1].n) {
			*m = c->mag[1];
			c->mag[1].n = 0;
		} else if (c->bump_next == c->bump_end && !depot_pop(m) &&
			   !frames_bump(&c->bump_next, &c->bump_end)) {
			return INVALID_MFN;
		}
	}
	count(&c->allocs);
	if (m->n)
		return mag_pop(m);
	frame_record_init(MFN(c->bump_next));
	return MFN(c->bump_next++);
}

static __attribute__((noinline)) mfn_t get_slow(struct page_cache *c)
{
	page_cache_refill(c); /* before anyone else gets what has been freed elsewhere */
	return get(c);
}

mfn_t page_cache_get(struct page_cache *c)
{
	struct magazine *m = &c->mag[0];

	if (unlikely(!m->n))
		return get_slow(c);
	count(&c->allocs);
	return mag_pop(m);
}

mfn_t page_cache_get_reserve(struct page_cache *c)
{
	return c->reserve.n ? mag_pop(&c->reserve) : INVALID_MFN;
}

bool page_cache_refill(struct page_cache *c)
{
	struct magazine *r = &c->reserve;

	while (page_cache_short(c)) {
		mfn_t f = get(c);

		if (!mfn_valid_value(f))
			break;
		mag_push(r, f);
	}
	return r->n >= atomic_load_explicit(&page_reserve_low, memory_order_relaxed);
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
	mag_push(m, f);
	count(&c->frees);
}

void page_cache_drain(struct page_cache *c)
{
	while (c->reserve.n)
		page_cache_put(c, mag_pop(&c->reserve));
	for (unsigned i = 0; i < 2; i++) {
		if (c->mag[i].n)
			depot_push(&c->mag[i]);
		c->mag[i].n = 0;
	}
	while (c->bump_next != c->bump_end) {
		frame_record_init(MFN(c->bump_next));
		mag_push(&c->mag[0], MFN(c->bump_next++));
	}
	if (c->mag[0].n)
		depot_push(&c->mag[0]);
	c->mag[0].n = 0;
}
