/* SPDX-License-Identifier: MIT */
/* The contended paths, and reading the counts; see contention.h. */
#include "percpu/contention.h"

#include "core/arch.h"
#include "core/lib.h"
#include "percpu/pcpu.h"

#define PROBES 8

/* Only the pCPU itself writes: a load and a store do. */
static void add(uint64_t *v, uint64_t n)
{
	__atomic_store_n(v, __atomic_load_n(v, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static void add_published(uint64_t *v, uint64_t n)
{
	/* PAIRS: contended */
	__atomic_store_n(v, __atomic_load_n(v, __ATOMIC_RELAXED) + n, __ATOMIC_RELEASE);
}

static uint64_t get(const uint64_t *v)
{
	return __atomic_load_n(v, __ATOMIC_RELAXED);
}

/* Fill @pc with the call path to @frame as distances; what is too far away ends it. */
static void call_path(const void *frame, int32_t *pc)
{
	uintptr_t from[CALLER_DEPTH];
	unsigned n = arch_callers(frame, from, CALLER_DEPTH);

	memset(pc, 0, CALLER_DEPTH * sizeof(*pc));
	for (unsigned i = 0; i < n; i++) {
		int64_t at = (int64_t)(from[i] - contention_base());

		if (at != (int32_t)at)
			break;
		pc[i] = (int32_t)at;
	}
}

/* This pCPU's row for a path, or NULL when there is no room. */
static struct contention_caller *row_of(struct contention *c, uint32_t site, const int32_t *pc)
{
	uint64_t hash = site;

	for (unsigned i = 0; i < CALLER_DEPTH; i++)
		hash = (hash ^ (uint32_t)pc[i]) * 0x9e3779b97f4a7c15ULL;
	for (unsigned i = 0; i < PROBES; i++) {
		struct contention_caller *r = &c->caller[((hash >> 40) + i) % MAX_CALLERS];
		uint32_t is = atomic_load_explicit(&r->site, memory_order_relaxed);

		if (is == site && !memcmp(r->pc, pc, sizeof(r->pc)))
			return r;
		if (is)
			continue;
		memcpy(r->pc, pc, sizeof(r->pc));
		/* PAIRS: contention_row */
		atomic_store_explicit(&r->site, site, memory_order_release);
		return r;
	}
	return NULL;
}

void contention_record(const struct contention_site *site, uint64_t since, uint64_t retries)
{
	uint64_t wait = arch_cycles() - since;
	struct contention_slot *s = this_slot(site);
	struct pcpu *p = this_pcpu();
	struct contention_caller *r;
	int32_t pc[CALLER_DEPTH];

	add(&s->wait, wait);
	add(&s->retries, retries);
	add_published(&s->contended, 1);
	if (!p)
		return;
	call_path(__builtin_frame_address(0), pc);
	r = row_of(&p->contention, (uint32_t)(site - __start_xylem_sites) + 1, pc);
	if (!r)
		return;
	add(&r->wait, wait);
	add(&r->retries, retries);
	add_published(&r->contended, 1);
}

void contention_read(const struct contention *c, unsigned n, struct contention_counts *out)
{
	const struct contention_slot *s = &c->slot[n];

	/* PAIRS: contended */
	out->contended = __atomic_load_n(&s->contended, __ATOMIC_ACQUIRE);
	out->ops = get(&s->ops);
	out->wait = get(&s->wait);
	out->retries = get(&s->retries);
}

void contention_sum(unsigned n, struct contention_counts *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct pcpu *p = pcpu_get(i);
		struct contention_counts one;

		if (!p)
			continue;
		contention_read(&p->contention, n, &one);
		out->ops += one.ops;
		out->contended += one.contended;
		out->wait += one.wait;
		out->retries += one.retries;
	}
}

int contention_caller(const struct contention *c, unsigned i, struct contention_counts *out,
		      uintptr_t *pc)
{
	const struct contention_caller *r = &c->caller[i];
	/* PAIRS: contention_row */
	uint32_t site = atomic_load_explicit(&r->site, memory_order_acquire);

	if (!site)
		return -1;
	memset(out, 0, sizeof(*out));
	out->contended = __atomic_load_n(&r->contended, __ATOMIC_ACQUIRE);
	out->wait = get(&r->wait);
	out->retries = get(&r->retries);
	for (unsigned k = 0; k < CALLER_DEPTH; k++)
		pc[k] = r->pc[k] ? contention_base() + (uintptr_t)(intptr_t)r->pc[k] : 0;
	return (int)site - 1;
}
