/* SPDX-License-Identifier: MIT */
/*
 * The memory of an execution. Each place that is accessed atomically has all the values stored there,
 * in order; a thread's view says which it may still see. Views travel with released stores and are
 * joined by acquiring loads. Vector clocks travel the same way and tell data races. The real memory
 * always holds the newest values, and what was there before is kept for mem_undo().
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress/litmus/engine.h"

#define MAX_LOCS 4096
#define CELLS (1u << 17) /* 8-byte words of memory touched in one execution, at most half of it */
#define SHADOWS 8
#define ARENA (256UL << 20)
#define OLD_STORES 4 /* how far back a load may look */

struct view {
	unsigned n;
	uint16_t *at; /* by place: the first store that may be seen */
};

struct clocks {
	uint32_t c[LITMUS_THREADS];
};

struct store {
	uint64_t value;
	struct view view; /* what who acquires it gets */
	struct clocks clocks;
};

struct loc {
	uintptr_t at;
	uint16_t id;
	uint8_t size;
	bool plain; /* written by a plain store since */
	uint8_t plain_by;
	unsigned n, cap;
	struct store *store;
	struct loc *next;
};

/* An earlier access, for races. */
struct shadow {
	uintptr_t site;
	uint32_t clock;
	uint8_t mask, by;
	bool write, atomic;
};

struct cell {
	uintptr_t key;
	uint32_t epoch;
	uint8_t n, rotor;
	struct loc *locs;
	struct shadow shadow[SHADOWS];
};

struct undo {
	uintptr_t at;
	uint64_t old;
};

struct agent {
	uint16_t view[MAX_LOCS];
	uint16_t seen[MAX_LOCS]; /* what it read or stored last itself */
	struct clocks clocks;
	struct view fence_view; /* of its last release fence */
	struct clocks fence_clocks;
	struct view got_view; /* by relaxed loads: for an acquire fence */
	struct clocks got_clocks;
	bool fresh, saw_old;
};

static struct {
	unsigned threads;
	struct agent agent[LITMUS_THREADS];
	struct view kick_view[LITMUS_THREADS];
	struct clocks kick_clocks[LITMUS_THREADS];
	uint16_t sc[MAX_LOCS];
	unsigned locs;
	uint32_t epoch;
	unsigned cells;
	struct undo *undo;
	size_t undos, undo_cap;
	char *arena;
	size_t used;
} mem;

static struct cell cells[CELLS];

static void *arena(size_t size)
{
	void *p;

	if (!mem.arena)
		mem.arena = malloc(ARENA);
	size = (size + 15) & ~15UL;
	if (!mem.arena || mem.used + size > ARENA)
		litmus_fail("the execution is too long for the memory of the test");
	p = mem.arena + mem.used;
	mem.used += size;
	return p;
}

void mem_begin(unsigned threads)
{
	mem.threads = threads;
	for (unsigned i = 0; i < threads; i++) {
		struct agent *a = &mem.agent[i];

		memset(a->view, 0, mem.locs * sizeof(a->view[0]));
		memset(a->seen, 0, mem.locs * sizeof(a->seen[0]));
		memset((char *)a + offsetof(struct agent, clocks), 0,
		       sizeof(*a) - offsetof(struct agent, clocks));
		a->clocks.c[i] = 1;
		mem.kick_view[i] = (struct view){0};
		mem.kick_clocks[i] = (struct clocks){0};
	}
	memset(mem.sc, 0, mem.locs * sizeof(mem.sc[0]));
	mem.locs = 0;
	mem.used = 0;
	mem.cells = 0;
	mem.undos = 0;
	mem.epoch++;
}

/* ---- undo ---- */

static void remember(uintptr_t at)
{
	if (mem.undos == mem.undo_cap) {
		mem.undo_cap = mem.undo_cap ? mem.undo_cap * 2 : 4096;
		mem.undo = realloc(mem.undo, mem.undo_cap * sizeof(*mem.undo));
		if (!mem.undo)
			abort();
	}
	mem.undo[mem.undos++] = (struct undo){at, *(uint64_t *)at};
}

void mem_remember(uintptr_t at, size_t size)
{
	for (uintptr_t w = at & ~7UL; w < at + size; w += 8)
		remember(w);
}

void mem_undo(void)
{
	while (mem.undos) {
		struct undo *u = &mem.undo[--mem.undos];

		*(uint64_t *)u->at = u->old;
	}
}

/* ---- views and clocks ---- */

static struct agent *self(void)
{
	return &mem.agent[litmus_self];
}

static struct view view_copy(const uint16_t *from)
{
	struct view v = {mem.locs, arena(mem.locs * sizeof(uint16_t))};

	memcpy(v.at, from, mem.locs * sizeof(uint16_t));
	return v;
}

static void view_join(uint16_t *to, const struct view *v)
{
	for (unsigned i = 0; i < v->n; i++)
		to[i] = MAX(to[i], v->at[i]);
}

static void view_add(struct view *to, const struct view *v)
{
	uint16_t *at;

	if (!v->n)
		return;
	at = arena(mem.locs * sizeof(uint16_t));
	memset(at, 0, mem.locs * sizeof(uint16_t));
	view_join(at, to);
	view_join(at, v);
	*to = (struct view){mem.locs, at};
}

static void clocks_join(struct clocks *to, const struct clocks *c)
{
	for (unsigned i = 0; i < mem.threads; i++)
		to->c[i] = MAX(to->c[i], c->c[i]);
}

static bool acquires(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME ||
	       order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static void full_fence(struct agent *a)
{
	for (unsigned i = 0; i < mem.locs; i++)
		a->view[i] = mem.sc[i] = MAX(a->view[i], mem.sc[i]);
}

/* ---- places ---- */

static struct cell *cell_of(uintptr_t at)
{
	uintptr_t key = at >> 3;
	unsigned i = (unsigned)((key * 0x9e3779b97f4a7c15UL) >> 40) & (CELLS - 1);

	for (;; i = (i + 1) & (CELLS - 1)) {
		struct cell *c = &cells[i];

		if (c->epoch == mem.epoch && c->key == key)
			return c;
		if (c->epoch != mem.epoch) {
			if (++mem.cells > CELLS / 2)
				litmus_fail("the test touches too much memory");
			c->key = key;
			c->epoch = mem.epoch;
			c->n = c->rotor = 0;
			c->locs = NULL;
			return c;
		}
	}
}

static uint64_t real(uintptr_t at, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, (const void *)at, size);
	return v;
}

static struct store *add_store(struct loc *l, uint64_t value)
{
	struct store *s;

	if (l->n == l->cap) {
		s = arena(2 * l->cap * sizeof(*s));
		memcpy(s, l->store, l->n * sizeof(*s));
		l->store = s;
		l->cap *= 2;
	}
	s = &l->store[l->n++];
	memset(s, 0, sizeof(*s));
	s->value = value;
	return s;
}

static struct loc *loc_of(uintptr_t at, unsigned size)
{
	struct cell *c = cell_of(at);
	struct loc *l;

	for (l = c->locs; l && l->at != at; l = l->next)
		;
	if (!l) {
		if (mem.locs == MAX_LOCS)
			litmus_fail("the test has too many atomics");
		l = arena(sizeof(*l));
		*l = (struct loc){.at = at,
				  .id = (uint16_t)mem.locs++,
				  .size = (uint8_t)size,
				  .cap = 8,
				  .next = c->locs};
		l->store = arena(l->cap * sizeof(*l->store));
		c->locs = l;
		/* Their space may be left over from an execution with more places. */
		for (unsigned i = 0; i < mem.threads; i++)
			mem.agent[i].view[l->id] = mem.agent[i].seen[l->id] = 0;
		mem.sc[l->id] = 0;
		add_store(l, real(at, size));
	} else if (l->size != size) {
		litmus_fail("atomics of %u and %u bytes at one address", l->size, size);
	}
	if (l->plain) {
		l->plain = false;
		add_store(l, real(at, size));
		mem.agent[l->plain_by].view[l->id] = (uint16_t)(l->n - 1);
	}
	return l;
}

/* ---- races ---- */

static void touch(struct cell *c, uint8_t mask, bool write, bool atomic)
{
	struct agent *a = self();
	struct shadow *s, *mine = NULL;

	for (s = c->shadow; s < c->shadow + c->n; s++) {
		if (s->by == litmus_self) {
			if (s->mask == mask && s->write == write && s->atomic == atomic)
				mine = s;
			continue;
		}
		if (!(s->mask & mask) || !(s->write || write) || (s->atomic && atomic) ||
		    s->clock <= a->clocks.c[s->by])
			continue;
		litmus_fail("data race: %s at 0x%lx after thread %u's %s at 0x%lx",
			    write ? "write" : "read", hooks_site, s->by,
			    s->write ? "write" : "read", s->site);
	}
	if (!mine)
		mine = c->n < SHADOWS ? &c->shadow[c->n++] : &c->shadow[c->rotor++ % SHADOWS];
	*mine = (struct shadow){
		hooks_site, a->clocks.c[litmus_self], mask, (uint8_t)litmus_self, write, atomic};
}

static void touch_atomic(uintptr_t at, unsigned size, bool write)
{
	touch(cell_of(at), (uint8_t)(((1u << size) - 1) << (at & 7)), write, true);
}

void mem_plain(uintptr_t at, size_t size, bool write)
{
	engine_count();
	while (size) {
		unsigned first = at & 7, n = (unsigned)MIN(8 - first, size);
		uint8_t mask = (uint8_t)(((1u << n) - 1) << first);
		struct cell *c = cell_of(at);

		touch(c, mask, write, false);
		if (write) {
			remember(at & ~7UL);
			for (struct loc *l = c->locs; l; l = l->next) {
				if (l->at >= at + n || l->at + l->size <= at)
					continue;
				loc_of(l->at, l->size);
				l->plain = true;
				l->plain_by = (uint8_t)litmus_self;
			}
		}
		at += n;
		size -= n;
	}
}

/* ---- atomics ---- */

static void write_real(uintptr_t at, unsigned size, uint64_t v)
{
	remember(at & ~7UL);
	memcpy((void *)at, &v, size);
	engine_wrote();
}

static void get(struct agent *a, const struct store *s, int order)
{
	if (acquires(order)) {
		view_join(a->view, &s->view);
		clocks_join(&a->clocks, &s->clocks);
	} else {
		view_add(&a->got_view, &s->view);
		clocks_join(&a->got_clocks, &s->clocks);
	}
}

/* A new store of this thread; @seen: what an RMW read. */
static void put(struct agent *a, struct loc *l, uint64_t v, int order, const struct store *seen)
{
	struct store before = seen ? *seen : (struct store){0};
	struct store *s = add_store(l, v);

	if (l->n > UINT16_MAX)
		litmus_fail("too many stores");
	a->view[l->id] = a->seen[l->id] = (uint16_t)(l->n - 1);
	s->view = before.view;
	s->clocks = before.clocks;
	if (releases(order)) {
		struct view mine = view_copy(a->view);

		if (before.view.n)
			view_add(&s->view, &mine);
		else
			s->view = mine;
		clocks_join(&s->clocks, &a->clocks);
		a->clocks.c[litmus_self]++;
	} else if (a->fence_view.n) {
		view_add(&s->view, &a->fence_view);
		clocks_join(&s->clocks, &a->fence_clocks);
	}
	write_real(l->at, l->size, v);
}

uint64_t mem_load(uintptr_t at, unsigned size, int order)
{
	struct agent *a = self();
	unsigned first, i;
	struct loc *l;

	engine_point();
	touch_atomic(at, size, false);
	l = loc_of(at, size);
	if (order == __ATOMIC_SEQ_CST)
		for (i = 0; i < mem.locs; i++)
			a->view[i] = MAX(a->view[i], mem.sc[i]);
	first = a->view[l->id];
	i = l->n - 1;
	if (!a->fresh)
		i -= engine_choose(MIN(l->n - first, OLD_STORES));
	a->fresh = false;
	a->saw_old |= i != l->n - 1;
	a->view[l->id] = a->seen[l->id] = (uint16_t)i;
	get(a, &l->store[i], order);
	return l->store[i].value;
}

void mem_store(uintptr_t at, unsigned size, uint64_t v, int order)
{
	struct agent *a = self();
	struct loc *l;

	engine_point();
	touch_atomic(at, size, true);
	l = loc_of(at, size);
	if (order == __ATOMIC_SEQ_CST)
		full_fence(a);
	put(a, l, v, order, NULL);
	if (order == __ATOMIC_SEQ_CST)
		full_fence(a);
}

uint64_t rmw_applied(enum rmw op, uint64_t old, uint64_t v)
{
	switch (op) {
	case RMW_XCHG:
		return v;
	case RMW_ADD:
		return old + v;
	case RMW_SUB:
		return old - v;
	case RMW_AND:
		return old & v;
	case RMW_OR:
		return old | v;
	case RMW_XOR:
		return old ^ v;
	default:
		return ~(old & v);
	}
}

static uint64_t cut(uint64_t v, unsigned size)
{
	return size == 8 ? v : v & ((1UL << size * 8) - 1);
}

/* The newest store, as an RMW sees it. */
static struct store *newest(struct agent *a, struct loc *l, int order)
{
	struct store *s = &l->store[l->n - 1];

	if (order == __ATOMIC_SEQ_CST)
		full_fence(a);
	a->view[l->id] = a->seen[l->id] = (uint16_t)(l->n - 1);
	a->fresh = false;
	get(a, s, order);
	return s;
}

uint64_t mem_rmw(uintptr_t at, unsigned size, enum rmw op, uint64_t v, int order)
{
	struct agent *a = self();
	struct store *s;
	uint64_t old;
	struct loc *l;

	engine_point();
	touch_atomic(at, size, true);
	l = loc_of(at, size);
	s = newest(a, l, order);
	old = s->value;
	put(a, l, cut(rmw_applied(op, old, v), size), order, s);
	if (order == __ATOMIC_SEQ_CST)
		full_fence(a);
	return old;
}

bool mem_cas(uintptr_t at, unsigned size, uint64_t *expected, uint64_t v, int order, int fail)
{
	struct agent *a = self();
	struct store *s;
	struct loc *l;

	engine_point();
	l = loc_of(at, size);
	if (l->store[l->n - 1].value != cut(*expected, size)) {
		touch_atomic(at, size, false);
		s = newest(a, l, fail);
		*expected = s->value;
		return false;
	}
	touch_atomic(at, size, true);
	s = newest(a, l, order);
	put(a, l, cut(v, size), order, s);
	if (order == __ATOMIC_SEQ_CST)
		full_fence(a);
	return true;
}

void mem_fence(int order)
{
	struct agent *a = self();

	engine_point();
	if (acquires(order)) {
		view_join(a->view, &a->got_view);
		clocks_join(&a->clocks, &a->got_clocks);
	}
	if (order == __ATOMIC_SEQ_CST)
		full_fence(a);
	if (releases(order)) {
		a->fence_view = view_copy(a->view);
		a->fence_clocks = a->clocks;
		a->clocks.c[litmus_self]++;
	}
}

uint64_t mem_again(uintptr_t at, unsigned size)
{
	struct loc *l;

	engine_point();
	l = loc_of(at, size);
	return l->store[self()->seen[l->id]].value;
}

/* ---- kicks and waiting ---- */

void mem_kick_send(unsigned to)
{
	struct agent *a = self();
	struct view mine = view_copy(a->view);

	view_add(&mem.kick_view[to], &mine);
	clocks_join(&mem.kick_clocks[to], &a->clocks);
	a->clocks.c[litmus_self]++;
}

void mem_kick_receive(unsigned me)
{
	struct agent *a = self();

	view_join(a->view, &mem.kick_view[me]);
	clocks_join(&a->clocks, &mem.kick_clocks[me]);
}

void mem_look_fresh(void)
{
	self()->fresh = true;
	self()->saw_old = false;
}

bool mem_saw_old(void)
{
	return self()->saw_old;
}
