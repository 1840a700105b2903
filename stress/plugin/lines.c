/* SPDX-License-Identifier: MIT */
/*
 * Cache lines and who used them. An open-addressed table that only grows: a slot is claimed by one
 * compare-and-swap of its key and belongs to that line for ever. QEMU runs one thread per CPU; what
 * is in a slot is changed under the slot's own spin bit.
 */
#include "profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SHIFT 6
#define LINE_BYTES 64u

struct side {
	uint64_t rmask, wmask; /* bytes */
	uint64_t rpc, wpc;
	uint32_t r, w, irq_r, irq_w, transfers;
	uint32_t cpu;
};

struct line {
	_Atomic uint64_t key; /* number of the physical line, plus 1 */
	atomic_flag busy;
	bool listed;	/* in this time's list of lines */
	uint16_t owner; /* who wrote last, plus 1 */
	uint64_t sharers[MAX_CPUS / 64];
	uint64_t virt, rmask, wmask, r, w, transfers;
	uint64_t wpc;	       /* of the last write */
	uint64_t taker, giver; /* of the last transfer */
	struct side side[LINE_SIDES];
};

static struct line *table;
static uint64_t table_mask;
static _Atomic uint64_t lost_lines, lost_addrs;

/* Slots used in windows since the last record. */
static uint32_t *list;
static _Atomic uint32_t list_n;

bool lines_init(unsigned bits)
{
	table_mask = (1ULL << bits) - 1;
	table = calloc(table_mask + 1, sizeof(*table));
	list = calloc(table_mask + 1, sizeof(*list));
	return table && list;
}

void lines_lost_address(void)
{
	atomic_fetch_add(&lost_addrs, 1);
}

static struct line *find(uint64_t phys)
{
	uint64_t key = (phys >> LINE_SHIFT) + 1, at = key * 0x9e3779b97f4a7c15ULL >> 20;

	for (unsigned probes = 0; probes < 64; probes++, at++) {
		struct line *l = &table[at & table_mask];
		uint64_t was = atomic_load(&l->key);

		if (was == key ||
		    (!was && (atomic_compare_exchange_strong(&l->key, &was, key) || was == key)))
			return l;
	}
	atomic_fetch_add(&lost_lines, 1);
	return NULL;
}

/* Whether this access moves the line from another CPU; as in a machine with unbounded caches. */
static bool transfer(struct line *l, unsigned cpu, bool store)
{
	uint64_t bit = 1ULL << cpu % 64, *own = &l->sharers[cpu / 64];
	bool moved;

	if (store) {
		bool others = l->owner && l->owner != cpu + 1;

		for (unsigned i = 0; i < MAX_CPUS / 64; i++)
			others |= l->sharers[i] & ~(i == cpu / 64 ? bit : 0);
		moved = others;
		memset(l->sharers, 0, sizeof(l->sharers));
		l->owner = (uint16_t)(cpu + 1);
	} else {
		moved = l->owner && l->owner != cpu + 1 && !(*own & bit);
	}
	*own |= bit;
	return moved;
}

/* Few enough records, and yet one from about when the line was hot. */
static bool worth_a_look(uint64_t transfers)
{
	return transfers >= 32 && !(transfers & (transfers - 1)) &&
	       __builtin_ctzll(transfers) % 4 == 1;
}

static void write_seen(uint64_t phys)
{
	flockfile(prof_out);
	fprintf(prof_out, "{\"rec\": \"seen\", \"phys\": \"%#" PRIx64 "\"", phys);
	memory_describe(phys);
	fputs("}\n", prof_out);
	funlockfile(prof_out);
}

static void in_window(struct line *l, unsigned cpu, bool irq, uint64_t pc, uint64_t bytes,
		      bool store, bool moved)
{
	struct side *s = &l->side[cpu % LINE_SIDES];

	if (!l->listed) {
		l->listed = true;
		list[atomic_fetch_add(&list_n, 1)] = (uint32_t)(l - table);
	}
	s->cpu = cpu;
	if (irq) {
		*(store ? &s->irq_w : &s->irq_r) += 1;
		return;
	}
	s->transfers += moved;
	if (store) {
		if (!s->w++)
			s->wpc = pc;
		s->wmask |= bytes;
	} else {
		if (!s->r++)
			s->rpc = pc;
		s->rmask |= bytes;
	}
}

static void use(unsigned cpu, uint64_t pc, uint64_t virt, uint64_t phys, unsigned size, bool store)
{
	struct prof_cpu *c = &prof_cpu[cpu];
	struct line *l = find(phys);
	uint64_t bytes = (size >= LINE_BYTES ? ~0ULL : (1ULL << size) - 1) << phys % LINE_BYTES;
	bool moved, look = false;

	if (!l)
		return;
	while (atomic_flag_test_and_set_explicit(&l->busy, memory_order_acquire))
		;
	moved = transfer(l, cpu, store);
	l->virt = virt - virt % LINE_BYTES;
	if (moved) {
		look = worth_a_look(++l->transfers);
		l->taker = pc;
		l->giver = l->wpc;
	}
	if (store) {
		l->w++;
		l->wmask |= bytes;
		l->wpc = pc;
	} else {
		l->r++;
		l->rmask |= bytes;
	}
	if (c->window >= 0)
		in_window(l, cpu, c->in_irq, pc, bytes, store, moved);
	atomic_flag_clear_explicit(&l->busy, memory_order_release);
	if (!moved)
		return;
	if (look)
		write_seen(phys - phys % LINE_BYTES);
	*(c->in_irq ? &c->now.irq_transfers : &c->now.transfers) += 1;
	if (c->entry && !c->in_irq)
		c->by_entry[c->entry].transfers++;
}

void lines_access(unsigned cpu, uint64_t pc, uint64_t virt, uint64_t phys, unsigned size,
		  bool store)
{
	unsigned room = LINE_BYTES - (unsigned)(phys % LINE_BYTES);

	use(cpu, pc, virt, phys, size < room ? size : room, store);
	/* The rest of one across two lines; a page's end is a rare place to be, and not followed. */
	if (size > room && (phys + room) % 4096)
		use(cpu, pc, virt + room, phys + room, size - room, store);
}

static bool is_shared(const struct line *l)
{
	for (unsigned i = 0; i < LINE_SIDES; i++)
		for (unsigned k = 0; k < LINE_SIDES; k++)
			if (i != k && (l->side[i].w || l->side[i].irq_w) &&
			    (l->side[k].r || l->side[k].w || l->side[k].irq_r || l->side[k].irq_w))
				return true;
	return false;
}

static void write_line(const struct line *l, int dump)
{
	const char *comma = "";

	fprintf(prof_out,
		"{\"rec\": \"line\", \"dump\": %d, \"phys\": \"%#" PRIx64
		"\", \"virt\": \"%#" PRIx64 "\", \"sides\": [",
		dump, (atomic_load(&l->key) - 1) << LINE_SHIFT, l->virt);
	for (unsigned i = 0; i < LINE_SIDES; i++) {
		const struct side *s = &l->side[i];

		if (!(s->r | s->w | s->irq_r | s->irq_w))
			continue;
		fprintf(prof_out,
			"%s{\"cpu\": %u, \"r\": %u, \"w\": %u, \"rmask\": \"%#" PRIx64
			"\", \"wmask\": \"%#" PRIx64 "\", \"rpc\": \"%#" PRIx64
			"\", \"wpc\": \"%#" PRIx64
			"\", \"irq_r\": %u, \"irq_w\": %u, \"transfers\": %u}",
			comma, s->cpu, s->r, s->w, s->rmask, s->wmask, s->rpc, s->wpc, s->irq_r,
			s->irq_w, s->transfers);
		comma = ", ";
	}
	fputc(']', prof_out);
	memory_describe((atomic_load(&l->key) - 1) << LINE_SHIFT);
	fputs("}\n", prof_out);
}

void lines_end_windows(int dump)
{
	uint32_t n = atomic_exchange(&list_n, 0);

	for (uint32_t i = 0; i < n; i++) {
		struct line *l = &table[list[i]];

		if (dump >= 0 && is_shared(l))
			write_line(l, dump);
		memset(l->side, 0, sizeof(l->side));
		l->listed = false;
	}
}

static int by_transfers(const void *a, const void *b)
{
	const struct line *x = *(struct line *const *)a, *y = *(struct line *const *)b;

	return (x->transfers < y->transfers) - (x->transfers > y->transfers);
}

static void write_hot(const struct line *l)
{
	uint64_t phys = (atomic_load(&l->key) - 1) << LINE_SHIFT;

	fprintf(prof_out,
		"{\"rec\": \"hot\", \"phys\": \"%#" PRIx64 "\", \"virt\": \"%#" PRIx64
		"\", \"transfers\": %" PRIu64 ", \"r\": %" PRIu64 ", \"w\": %" PRIu64
		", \"pc\": \"%#" PRIx64 "\", \"from\": \"%#" PRIx64 "\", \"rmask\": \"%#" PRIx64
		"\", \"wmask\": \"%#" PRIx64 "\"",
		phys, l->virt, l->transfers, l->r, l->w, l->taker, l->giver, l->rmask, l->wmask);
	memory_describe(phys);
	fputs("}\n", prof_out);
}

void lines_finish(unsigned top)
{
	struct line **hot;
	size_t n = 0;

	for (uint64_t i = 0; i <= table_mask; i++)
		n += table[i].transfers != 0;
	hot = calloc(n + 1, sizeof(struct line *));
	n = 0;
	for (uint64_t i = 0; hot && i <= table_mask; i++)
		if (table[i].transfers)
			hot[n++] = &table[i];
	if (hot)
		qsort(hot, n, sizeof(struct line *), by_transfers);
	for (size_t i = 0; i < n && i < top; i++)
		write_hot(hot[i]);
	free(hot);
	fprintf(prof_out, "{\"rec\": \"lost\", \"lines\": %" PRIu64 ", \"addrs\": %" PRIu64 "}\n",
		atomic_load(&lost_lines), atomic_load(&lost_addrs));
}
