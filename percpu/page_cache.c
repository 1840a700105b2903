/* SPDX-License-Identifier: MIT */
/* Magazines of a pCPU, and its reserve; see page_cache.h. */
#include "percpu/page_cache.h"

#include "memsvc/frame.h"
#include "percpu/pcpu.h"

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

static void spare_push(struct page_cache *c, const struct magazine *m)
{
	atomic_store_explicit(&page_of(MFN(m->head))->mag_next, c->spares, memory_order_relaxed);
	c->spares = m->head;
	c->nr_spares++;
}

static struct magazine spare_pop(struct page_cache *c)
{
	struct magazine m = {.head = c->spares, .n = MAGAZINE_SIZE};

	c->spares = atomic_load_explicit(&page_of(MFN(m.head))->mag_next, memory_order_relaxed);
	c->nr_spares--;
	return m;
}

static void keep_spares(struct page_cache *c, unsigned most)
{
	while (c->nr_spares > most) {
		struct magazine m = spare_pop(c);

		depot_push(&m);
	}
}

static unsigned most_spares(void)
{
	uint64_t n = frames_total() / 64 / MAGAZINE_SIZE / MAX(nr_pcpus(), 1u);

	return n <= 1 || !frames_unclaimed() ? 1 : MIN(n, (uint64_t)PAGE_CACHE_SPARES);
}

static mfn_t get(struct page_cache *c)
{
	struct magazine *m = &c->loaded;

	if (!m->n) {
		if (c->nr_spares) {
			*m = spare_pop(c);
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
	struct magazine *m = &c->loaded;

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
	struct magazine *m = &c->loaded;

	if (unlikely(m->n == MAGAZINE_SIZE)) {
		keep_spares(c, most_spares() - 1);
		spare_push(c, m);
		m->n = 0;
	}
	mag_push(m, f);
	count(&c->frees);
}

void page_cache_drain(struct page_cache *c)
{
	while (c->reserve.n)
		page_cache_put(c, mag_pop(&c->reserve));
	keep_spares(c, 0);
	if (c->loaded.n)
		depot_push(&c->loaded);
	c->loaded.n = 0;
	while (c->bump_next != c->bump_end) {
		frame_record_init(MFN(c->bump_next));
		mag_push(&c->loaded, MFN(c->bump_next++));
	}
	if (c->loaded.n)
		depot_push(&c->loaded);
	c->loaded.n = 0;
}
