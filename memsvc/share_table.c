/* SPDX-License-Identifier: MIT */
/* The sharing table; see share_table.h. */
#include "memsvc/share_table.h"

#include <arch/cpu.h>

#include "core/arch.h"
#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/frame.h"
#include "percpu/contention.h"

#define ENTRY_MFN 0xffffffffULL
#define ENTRY_SHARED (1ULL << 32)
#define ENTRY_TAG_SHIFT 33
#define ENTRY_KEY (~ENTRY_SHARED) /* what makes two entries the same one */

static _Atomic uint64_t *table;
static uint64_t nr_groups;

/* The tag is from the hash's lower half (bit 0 is always 1), the group from its upper half. */
static uint64_t tag_of(uint64_t hash)
{
	return hash << 32 >> ENTRY_TAG_SHIFT << ENTRY_TAG_SHIFT;
}

static uint64_t group_no(uint64_t hash)
{
	return (hash >> 32) * nr_groups >> 32;
}

static _Atomic uint64_t *group_of(uint64_t hash)
{
	return &table[group_no(hash) * SHARE_WORDS];
}

int share_table_init(uint64_t frames)
{
	uint64_t groups = DIV_ROUND_UP(frames * 2, SHARE_WORDS);
	uint64_t pages = DIV_ROUND_UP(groups * SHARE_WORDS * sizeof(*table), PAGE_SIZE);
	mfn_t m = frames_alloc_contig(pages);

	BUG_ON(frames_max_mfn() > ENTRY_MFN);
	if (!mfn_valid_value(m))
		return -XEN_ENOMEM;
	nr_groups = pages * PAGE_SIZE / (SHARE_WORDS * sizeof(*table));
	table = memset(arch_mfn_to_virt(m), 0, pages * PAGE_SIZE);
	page_hash_seed(arch_cycles() * 0x9e3779b97f4a7c15ULL);
	return 0;
}

bool share_table_ready(void)
{
	return table != NULL;
}

void share_table_fetch(uint64_t hash)
{
	const char *group = (const char *)group_of(hash);

	for (unsigned i = 0; i < SHARE_LINES; i++)
		__builtin_prefetch(group + (size_t)i * CACHE_LINE, 1);
}

void share_look_start(struct share_look *l, uint64_t hash)
{
	l->group = group_of(hash);
	l->tag = tag_of(hash);
	l->at = 0;
}

bool share_look_next(struct share_look *l, mfn_t *f)
{
	_Atomic uint64_t *group = l->group;
	unsigned end = nr_groups ? SHARE_WORDS : 0;
	uint64_t tag = l->tag;

#pragma GCC unroll 4
	for (unsigned i = l->at; i < end; i++) {
		/* PAIRS: share_entry */
		uint64_t e = atomic_load_explicit(&group[i], memory_order_acquire);

		if (unlikely((e ^ tag) >> ENTRY_TAG_SHIFT == 0) && e) {
			l->at = i + 1;
			*f = MFN(e & ENTRY_MFN);
			return true;
		}
	}
	l->at = end;
	return false;
}

/* Whether the frame has long become something else, or has other contents. */
static bool is_stale(uint64_t e, uint64_t group)
{
	struct page_info *pi = page_of(MFN(e & ENTRY_MFN));
	enum page_type t = page_type(pi);
	uint64_t hash;

	if (t != PG_DOM && t != PG_SHARED)
		return true;
	hash = atomic_load_explicit(&pi->dom.hash, memory_order_relaxed);
	return !(hash & 1) || group_no(hash) != group || (tag_of(hash) ^ e) >> ENTRY_TAG_SHIFT;
}

/* Which entry of a full group makes room; NULL: all are shared frames. */
static _Atomic uint64_t *victim(_Atomic uint64_t *group, uint64_t hash, uint64_t *was)
{
	_Atomic uint64_t *hint = NULL;

	for (unsigned i = 0; i < SHARE_WORDS; i++) {
		/* Begin anywhere, so that not always the same one has to go. */
		_Atomic uint64_t *w = &group[(i + (hash >> 1)) % SHARE_WORDS];
		uint64_t e = atomic_load_explicit(w, memory_order_relaxed);

		if (e & ENTRY_SHARED)
			continue;
		if (!hint) {
			hint = w;
			*was = e;
		}
		if (!e || is_stale(e, group_no(hash))) {
			*was = e;
			return w;
		}
	}
	return hint;
}

bool share_table_insert(uint64_t hash, mfn_t f, bool shared)
{
	_Atomic uint64_t *group = group_of(hash);
	uint64_t new = tag_of(hash) | f.v | (shared ? ENTRY_SHARED : 0);
	CAS_LOOP(loop, "sharing table, insert");

	for (unsigned try = 0; try < SHARE_TRIES && nr_groups; try++, retry(&loop)) {
		_Atomic uint64_t *to = NULL;
		uint64_t was = 0;

		for (unsigned i = 0; i < SHARE_WORDS; i++) {
			uint64_t e = atomic_load_explicit(&group[i], memory_order_relaxed);

			if (!e && !to)
				to = &group[i];
			if ((e ^ new) & ENTRY_KEY)
				continue;
			if (e & ENTRY_SHARED || !shared)
				return true;
			to = &group[i];
			was = e;
			break;
		}
		if (!to)
			to = victim(group, hash, &was);
		if (!to)
			return false;
		/* PAIRS: share_entry */
		if (atomic_compare_exchange_strong_explicit(to, &was, new, memory_order_release,
							    memory_order_relaxed))
			return true;
	}
	return false;
}

static void remove_entry(uint64_t hash, mfn_t f, bool shared)
{
	_Atomic uint64_t *group = group_of(hash);
	uint64_t key = tag_of(hash) | f.v;
	CAS_LOOP(loop, "sharing table, remove");

	for (unsigned i = 0; i < SHARE_WORDS && nr_groups; i++) {
		uint64_t e = atomic_load_explicit(&group[i], memory_order_relaxed);

		/* Once more when it turned from hint to shared meanwhile. */
		while (!((e ^ key) & (shared ? ENTRY_KEY : UINT64_MAX)) &&
		       !atomic_compare_exchange_weak_explicit(
			       &group[i], &e, 0, memory_order_relaxed, memory_order_relaxed))
			retry(&loop);
	}
}

void share_table_remove(uint64_t hash, mfn_t f)
{
	remove_entry(hash, f, false);
}

void share_table_forget(mfn_t f)
{
	remove_entry(atomic_load_explicit(&page_of(f)->dom.hash, memory_order_relaxed), f, true);
}

uint64_t share_table_entries(bool shared)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < nr_groups * SHARE_WORDS; i++) {
		uint64_t e = atomic_load_explicit(&table[i], memory_order_relaxed);

		n += e && !!(e & ENTRY_SHARED) == shared;
	}
	return n;
}
