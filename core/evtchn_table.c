/* SPDX-License-Identifier: MIT */
/*
 * The port table of a domain: a first bucket that is always there, and for ports beyond it a radix
 * tree of pages that only grows until the domain is freed.
 *
 * Invariant: a published page (directory or bucket) stays at its place and valid until
 *   evtchn_domain_free(); a port is reserved by the CAS FREE -> RESERVED of its state word alone.
 * Linearization: publishing a page at its CAS; reserving a port at its CAS.
 * Orders: the publishing CAS releases the zeroed page, the lookup acquires it. PAIRS: ec_table.
 *   The store of EC_FREE releases what the closer did to the record; the reserving CAS acquires it.
 *   PAIRS: ec_reuse.
 * Reclamation: all at once, a grace period after teardown.
 *
 * Which port: each vCPU claims chunks of EVTCHN_CHUNK ports by a CAS of `owner` in the chunk's first
 *   record and takes ports of these, so that two vCPUs that bind and close write no line in common.
 *   It leaves its present chunk (`at`) when that is full, for the first from `low` on that is its own
 *   and has a free port, or nobody's, or another's who uses none of it and is not at it; then for the
 *   last two kinds below `low`; then the table grows; and when it cannot, any free port of anybody's
 *   will do. So -XEN_ENOSPC means that every port was in use when it was looked at. Chunk 0 is vCPU
 *   0's from the start, which also stands for other domains' and the hypervisor's calls.
 * Owner, `at` and `low` only steer: no operation relies on them, all accesses are relaxed, and a
 *   port that they hide (a close that races with a search) is found by the last search at the
 *   latest. Who closes a port of another's chunk lowers that one's `low`, once until it has looked.
 * Growth: buckets are made in order, so the search ends at the first that is missing.
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

static struct evtchn *new_bucket(void)
{
	struct evtchn *page = new_page();

	for (unsigned i = 0; page && i < EVTCHN_PORTS_PER_PAGE; i++)
		atomic_init(&page[i].priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
	return page;
}

/* The record of @port, which is not in the first bucket, made when it is not there yet. */
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
		page = new_bucket();
		if (!page)
			return NULL;
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

/* The vCPU whose chunks an operation on @d's ports uses. */
static struct vcpu *allocator(struct domain *d)
{
	struct vcpu *v = current_vcpu();

	return v && v->domain == d ? v : d->vcpu[0];
}

/*
 * Reserve a port of the chunk that begins with @first, @head, looking from its @i-th on: its number
 * in the chunk, or EVTCHN_CHUNK. Lowers *@later to the first free one that cannot be used yet,
 * because the guest has not consumed it.
 */
static inline unsigned reserve(struct domain *d, struct evtchn *head, evtchn_port_t first,
			       unsigned i, evtchn_port_t *later)
{
	CAS_LOOP(loop, "free event port");

	for (unsigned n = 0; n < EVTCHN_CHUNK; n++, i = (i + 1) % EVTCHN_CHUNK) {
		uint64_t w = atomic_load_explicit(&head[i].state, memory_order_relaxed);

		if (ec_kind(w) != EC_FREE)
			continue;
		if (ec_fifo_is_linked(d, first + i)) {
			*later = MIN(*later, first + i);
			continue;
		}
		/* PAIRS: ec_reuse */
		if (atomic_compare_exchange_strong(&head[i].state, &w,
						   ec_word(w + EC_GEN_ONE, EC_RESERVED, 0, 0, 0)))
			return i;
		retry(&loop);
	}
	return EVTCHN_CHUNK;
}

static bool owns(struct vcpu *v, struct evtchn *head)
{
	return atomic_load_explicit(&head->owner, memory_order_relaxed) == v->id + 1;
}

/* None of its ports is in use, and its owner @tag allocates elsewhere. */
static bool abandoned(struct domain *d, struct evtchn *head, uint8_t tag, unsigned chunk)
{
	struct vcpu *o = d->vcpu[tag - 1];

	for (unsigned i = 0; i < EVTCHN_CHUNK; i++)
		if (ec_kind(atomic_load_explicit(&head[i].state, memory_order_relaxed)) != EC_FREE)
			return false;
	return atomic_load_explicit(&o->ports.at, memory_order_relaxed) / EVTCHN_CHUNK != chunk;
}

/* Make the chunk @v's, unless it is another's who may want it. */
static bool claim(struct domain *d, struct vcpu *v, struct evtchn *head, unsigned chunk)
{
	uint8_t tag = atomic_load_explicit(&head->owner, memory_order_relaxed);

	_Static_assert(MAX_VCPUS < UINT8_MAX, "an owner is a byte");
	if (tag == v->id + 1)
		return true;
	if (tag && !abandoned(d, head, tag, chunk))
		return false;
	return atomic_compare_exchange_strong_explicit(&head->owner, &tag, v->id + 1,
						       memory_order_relaxed, memory_order_relaxed);
}

/* Which chunks find() looks into: all it may claim; of these, none that were @v's; every one. */
enum find { FIND_CLAIM, FIND_OTHERS, FIND_ANY };

/*
 * Reserve a port of chunks *@c to @end - 1, as far as they are made: its record, or NULL. *@c becomes
 * where the search stopped; @later: see reserve().
 */
static struct evtchn *find(struct domain *d, struct vcpu *v, unsigned *c, unsigned end,
			   enum find how, evtchn_port_t *later)
{
	for (; *c < end; ++*c) {
		struct evtchn *head = ec_lookup(d, *c * EVTCHN_CHUNK);
		unsigned i;

		if (!head)
			return NULL;
		if (how == FIND_OTHERS && owns(v, head))
			continue;
		if (how != FIND_ANY && !claim(d, v, head, *c))
			continue;
		i = reserve(d, head, *c * EVTCHN_CHUNK, 0, later);
		if (i < EVTCHN_CHUNK)
			return head + i;
	}
	return NULL;
}

/* The present chunk of @v has no port: find another, *@c, that has. NULL: none, or no memory. */
static struct evtchn *find_chunk(struct domain *d, struct vcpu *v, unsigned *c, int *rc)
{
	unsigned end = port_limit(d) / EVTCHN_CHUNK;
	unsigned now = atomic_load_explicit(&v->ports.at, memory_order_relaxed) / EVTCHN_CHUNK;
	uint32_t from = atomic_load_explicit(&v->ports.low, memory_order_relaxed);
	evtchn_port_t later = UINT32_MAX, unused = 0;
	unsigned next = MIN(from, end);
	struct evtchn *e;

	for (*rc = -XEN_ENOSPC;;) {
		e = find(d, v, &next, end, FIND_CLAIM, &later);
		*c = next;
		if (e)
			break;
		/* Before the table grows: what others have left below. */
		*c = 0;
		e = find(d, v, c, MIN(from, end), FIND_OTHERS, &unused);
		if (e || next == end)
			break;
		if (!make(d, next * EVTCHN_CHUNK)) {
			*rc = -XEN_ENOMEM;
			break;
		}
	}
	/* Unless it was lowered meanwhile. */
	atomic_compare_exchange_strong_explicit(&v->ports.low, &from,
						MIN(later / EVTCHN_CHUNK, next),
						memory_order_relaxed, memory_order_relaxed);
	if (e)
		return e;
	*c = now;
	e = find(d, v, c, end, FIND_ANY, &unused);
	if (!e) {
		*c = 0;
		e = find(d, v, c, MIN(now, end), FIND_ANY, &unused);
	}
	return e;
}

int ec_alloc(struct domain *d, struct evtchn **ep, evtchn_port_t *port)
{
	struct vcpu *v = allocator(d);
	evtchn_port_t at = atomic_load_explicit(&v->ports.at, memory_order_relaxed);
	evtchn_port_t first = at - at % EVTCHN_CHUNK;
	struct evtchn *e = NULL, *head = ec_lookup(d, first);
	evtchn_port_t later = UINT32_MAX;
	unsigned i = EVTCHN_CHUNK, c;
	int rc;

	/* `at` may be seen before the bucket that another domain's call has made. */
	if (likely(head && owns(v, head) && first < port_limit(d)))
		i = reserve(d, head, first, at % EVTCHN_CHUNK, &later);
	if (likely(i < EVTCHN_CHUNK)) {
		e = head + i;
	} else {
		e = find_chunk(d, v, &c, &rc);
		if (!e)
			return rc;
		first = c * EVTCHN_CHUNK;
		i = e - ec_lookup(d, first);
	}
	at = first + (i + 1) % EVTCHN_CHUNK;
	if (unlikely(later / EVTCHN_CHUNK == first / EVTCHN_CHUNK))
		at = MIN(at, later);
	atomic_store_explicit(&v->ports.at, at, memory_order_relaxed);
	atomic_store_explicit(&e->priority, EVTCHN_FIFO_PRIORITY_DEFAULT, memory_order_relaxed);
	*ep = e;
	*port = first + i;
	return 0;
}

/* A port became free in a chunk that is not the present one of who closed it: tell its owner. */
static void left_free(struct domain *d, struct evtchn *head, unsigned chunk)
{
	uint8_t tag = atomic_load_explicit(&head->owner, memory_order_relaxed);
	_Atomic uint32_t *low = tag ? &d->vcpu[tag - 1]->ports.low : NULL;
	uint32_t was = low ? atomic_load_explicit(low, memory_order_relaxed) : 0;
	CAS_LOOP(loop, "lowest chunk with free event ports");

	while (chunk < was && !atomic_compare_exchange_weak_explicit(
				      low, &was, chunk, memory_order_relaxed, memory_order_relaxed))
		retry(&loop);
}

void ec_free(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	uint64_t w = atomic_load_explicit(&e->state, memory_order_relaxed);
	struct vcpu *v = allocator(d);
	evtchn_port_t at = atomic_load_explicit(&v->ports.at, memory_order_relaxed);

	/* PAIRS: ec_reuse */
	atomic_store_explicit(&e->state, ec_word(w, EC_FREE, 0, 0, 0), memory_order_release);
	if (port / EVTCHN_CHUNK != at / EVTCHN_CHUNK)
		left_free(d, e - port % EVTCHN_CHUNK, port / EVTCHN_CHUNK);
	else if (port < at)
		atomic_store_explicit(&v->ports.at, port, memory_order_relaxed);
}

void ec_restart(struct domain *d)
{
	for (unsigned i = 0; i < d->max_vcpus; i++) {
		atomic_store_explicit(&d->vcpu[i]->ports.at, 0, memory_order_relaxed);
		atomic_store_explicit(&d->vcpu[i]->ports.low, 0, memory_order_relaxed);
	}
}

int ec_for_range(struct domain *d, evtchn_port_t from, evtchn_port_t to,
		 int (*fn)(struct domain *d, struct evtchn *e, evtchn_port_t port))
{
	const unsigned per_dir = EVTCHN_PORTS_PER_PAGE * EVTCHN_BUCKETS_PER_DIR;

	for (evtchn_port_t p = from; p < to;) {
		struct evtchn *e = ec_lookup(d, p);
		int rc;

		if (e) {
			rc = fn(d, e, p++);
			if (rc)
				return rc;
		} else if (atomic_load_explicit(&d->evt.dir[p / per_dir], memory_order_acquire)) {
			p = ROUND_UP(p + 1, EVTCHN_PORTS_PER_PAGE);
		} else {
			p = ROUND_UP(p + 1, per_dir);
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
	struct evtchn *first;

	for (unsigned i = 0; i < EVTCHN_DIRS; i++)
		atomic_init(&d->evt.dir[i], NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(d->evt.poll_mask); i++)
		atomic_init(&d->evt.poll_mask[i], 0);
	atomic_init(&d->evt.fifo, NULL);
	atomic_init(&d->evt.abi, EVTCHN_ABI_2L);
	atomic_init(&d->evt.dying, false);
	atomic_init(&d->evt.quiet, false);
	d->evt.first = first = new_bucket();
	if (!first)
		return -XEN_ENOMEM;
	atomic_init(&first->state, EC_RESERVED); /* no such port */
	atomic_init(&first->owner, 1);
	return 0;
}

void evtchn_domain_free(struct domain *d)
{
	for (unsigned i = 0; i < EVTCHN_DIRS; i++) {
		struct evtchn_dir *dir = atomic_exchange(&d->evt.dir[i], NULL);

		for (unsigned j = 0; dir && j < EVTCHN_BUCKETS_PER_DIR; j++)
			put_page(atomic_load(&dir->bucket[j]));
		put_page(dir);
	}
	put_page(d->evt.first);
	d->evt.first = NULL;
	ec_fifo_free(d);
}
