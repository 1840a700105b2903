/* SPDX-License-Identifier: MIT */
/*
 * The port table of a domain: a radix tree of pages that only grows until the domain is freed.
 *
 * Invariant: a published page (directory or bucket) stays at its place and valid until
 *   evtchn_domain_free(); a port is reserved by the CAS FREE -> RESERVED of its state word alone.
 * Linearization: publishing a page at its CAS; reserving a port at its CAS.
 * Orders: the publishing CAS releases the zeroed page, the lookup acquires it. PAIRS: ec_table.
 *   The store of EC_FREE releases what the closer did to the record; the reserving CAS acquires it.
 *   PAIRS: ec_reuse.
 * Reclamation: all at once, a grace period after teardown.
 *
 * free_hint makes the search start at the lowest port that may be free. It is only a hint: two
 * racing updates can leave a free port below it, so a search that finds nothing starts again at 1.
 */
#include "core/evtchn_internal.h"
#include "core/hypercall.h"

static void *new_page(void)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);

	return mfn_valid_value(m) ? arch_mfn_to_virt(m) : NULL;
}

static void put_page(void *p)
{
	if (p)
		page_free(arch_virt_to_mfn(p));
}

/* The record of @port, made when it is not there yet. */
static struct evtchn *make(struct domain *d, evtchn_port_t port)
{
	unsigned b = port / EVTCHN_PORTS_PER_PAGE;
	_Atomic(struct evtchn_dir *) *dslot = &d->evt.dir[b / EVTCHN_BUCKETS_PER_DIR];
	struct evtchn_dir *dir = atomic_load_explicit(dslot, memory_order_acquire);
	_Atomic(struct evtchn *) *bslot;
	struct evtchn *bucket, *page;

	if (!dir) {
		struct evtchn_dir *fresh = new_page();

		if (!fresh)
			return NULL;
		/* PAIRS: ec_table */
		if (atomic_compare_exchange_strong(dslot, &dir, fresh))
			dir = fresh;
		else
			put_page(fresh);
	}
	bslot = &dir->bucket[b % EVTCHN_BUCKETS_PER_DIR];
	bucket = atomic_load_explicit(bslot, memory_order_acquire);
	if (!bucket) {
		page = new_page();
		if (!page)
			return NULL;
		for (unsigned i = 0; i < EVTCHN_PORTS_PER_PAGE; i++)
			atomic_init(&page[i].priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
		/* PAIRS: ec_table */
		if (atomic_compare_exchange_strong(bslot, &bucket, page))
			bucket = page;
		else
			put_page(page);
	}
	return bucket + port % EVTCHN_PORTS_PER_PAGE;
}

static evtchn_port_t port_limit(struct domain *d)
{
	if (atomic_load(&d->evt.abi) == EVTCHN_ABI_2L)
		return MIN(EVTCHN_2L_NR_CHANNELS, EVTCHN_MAX_PORTS);
	return EVTCHN_MAX_PORTS;
}

/* @later: lowest free port that cannot be used yet, because the guest has not consumed it. @lost:
 * another took it just now. */
static bool reserve(struct domain *d, struct evtchn *e, evtchn_port_t port, evtchn_port_t *later,
		    bool *lost)
{
	uint64_t w = atomic_load_explicit(&e->state, memory_order_relaxed);

	*lost = false;
	if (ec_kind(w) != EC_FREE)
		return false;
	if (ec_fifo_is_linked(d, port)) {
		*later = MIN(*later, port);
		return false;
	}
	/* PAIRS: ec_reuse */
	*lost = !atomic_compare_exchange_strong(&e->state, &w,
						ec_word(w + EC_GEN_ONE, EC_RESERVED, 0, 0, 0));
	return !*lost;
}

int ec_alloc(struct domain *d, struct evtchn **ep, evtchn_port_t *port)
{
	uint32_t hint = atomic_load_explicit(&d->evt.free_hint, memory_order_relaxed);
	evtchn_port_t limit = port_limit(d), end = limit, p = hint, later = UINT32_MAX;
	struct evtchn *e;
	bool lost;
	CAS_LOOP(loop, "free event port");

	for (;;) {
		if (p >= end) {
			if (hint <= 1)
				return -XEN_ENOSPC;
			/* Second round: what the hint passed over. */
			end = MIN(hint, limit);
			hint = 1;
			p = 1;
			continue;
		}
		e = ec_lookup(d, p);
		if (!e)
			e = make(d, p);
		if (!e)
			return -XEN_ENOMEM;
		if (reserve(d, e, p, &later, &lost))
			break;
		if (lost)
			retry(&loop);
		p++;
	}
	atomic_compare_exchange_strong_explicit(&d->evt.free_hint, &hint, MIN(p + 1, later),
						memory_order_relaxed, memory_order_relaxed);
	atomic_store_explicit(&e->priority, EVTCHN_FIFO_PRIORITY_DEFAULT, memory_order_relaxed);
	*ep = e;
	*port = p;
	return 0;
}

void ec_free(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	uint64_t w = atomic_load_explicit(&e->state, memory_order_relaxed);
	uint32_t hint = atomic_load_explicit(&d->evt.free_hint, memory_order_relaxed);
	CAS_LOOP(loop, "lowest free event port");

	/* PAIRS: ec_reuse */
	atomic_store_explicit(&e->state, ec_word(w, EC_FREE, 0, 0, 0), memory_order_release);
	while (port < hint &&
	       !atomic_compare_exchange_weak_explicit(&d->evt.free_hint, &hint, port,
						      memory_order_relaxed, memory_order_relaxed))
		retry(&loop);
}

int ec_for_range(struct domain *d, evtchn_port_t from, evtchn_port_t to,
		 int (*fn)(struct domain *d, struct evtchn *e, evtchn_port_t port))
{
	const unsigned per_dir = EVTCHN_PORTS_PER_PAGE * EVTCHN_BUCKETS_PER_DIR;

	for (evtchn_port_t p = from; p < to;) {
		struct evtchn *e = ec_lookup(d, p);
		int rc;

		if (!atomic_load_explicit(&d->evt.dir[p / per_dir], memory_order_acquire)) {
			p = ROUND_UP(p + 1, per_dir);
		} else if (!e) {
			p = ROUND_UP(p + 1, EVTCHN_PORTS_PER_PAGE);
		} else {
			rc = fn(d, e, p++);
			if (rc)
				return rc;
		}
	}
	return 0;
}

int ec_for_each(struct domain *d, int (*fn)(struct domain *d, struct evtchn *e, evtchn_port_t port))
{
	return ec_for_range(d, 1, EVTCHN_FIFO_NR_CHANNELS, fn);
}

bool evtchn_port_valid(struct domain *d, evtchn_port_t port)
{
	return port && ec_lookup(d, port);
}

int evtchn_domain_init(struct domain *d)
{
	for (unsigned i = 0; i < EVTCHN_DIRS; i++)
		atomic_init(&d->evt.dir[i], NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(d->evt.poll_mask); i++)
		atomic_init(&d->evt.poll_mask[i], 0);
	atomic_init(&d->evt.fifo, NULL);
	atomic_init(&d->evt.abi, EVTCHN_ABI_2L);
	atomic_init(&d->evt.free_hint, 1);
	atomic_init(&d->evt.dying, false);
	atomic_init(&d->evt.quiet, false);
	return make(d, 1) ? 0 : -XEN_ENOMEM;
}

void evtchn_domain_free(struct domain *d)
{
	for (unsigned i = 0; i < EVTCHN_DIRS; i++) {
		struct evtchn_dir *dir = atomic_exchange(&d->evt.dir[i], NULL);

		for (unsigned j = 0; dir && j < EVTCHN_BUCKETS_PER_DIR; j++)
			put_page(atomic_load(&dir->bucket[j]));
		put_page(dir);
	}
	ec_fifo_free(d);
}
