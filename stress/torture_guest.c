/* SPDX-License-Identifier: MIT */
/* What a simulated guest does with its data: words, pages, copies, the balloon; see torture.h. */
#include <unistd.h>

#include "memsvc/memctl_impl.h"
#include "memsvc/scan.h"
#include "torture_guest.h"

/* What the oracle said before an access; the access counts if it says so after as well. */
struct view {
	struct oname *n;
	struct omap *map;
	uint32_t epoch, kind, tmpl, map_seq;
	uint32_t seq[T_WORDS];
	uint64_t val[T_WORDS];
};

static bool view_take(struct tcpu *t, struct view *v, uint64_t g, struct omap *map)
{
	v->n = tname(t, g);
	v->map = map;
	v->map_seq = map ? atomic_load(&map->seq) : 0;
	if (map && (v->map_seq & 1 || atomic_load(&map->gfn) != g))
		return false;
	v->epoch = atomic_load(&v->n->epoch);
	v->kind = atomic_load(&v->n->kind);
	v->tmpl = atomic_load(&v->n->tmpl);
	for (unsigned i = 0; i < T_WORDS; i++) {
		v->seq[i] = atomic_load(&v->n->w[i].seq);
		v->val[i] = atomic_load(&v->n->w[i].val);
	}
	return !(v->epoch & 1);
}

static bool view_holds(const struct view *v)
{
	return atomic_load(&v->n->epoch) == v->epoch &&
	       (!v->map || atomic_load(&v->map->seq) == v->map_seq);
}

static bool word_holds(const struct view *v, unsigned i)
{
	return !(v->seq[i] & 1) && atomic_load(&v->n->w[i].seq) == v->seq[i];
}

/* Whatever else is true, a guest never sees what another domain wrote. */
static void check_foreign(struct tcpu *t, uint64_t x)
{
	uint64_t tag = x >> 56;

	if (tag >= UNIQUE_TAG && tag < UNIQUE_TAG + T_ALL_DOMS && tag != UNIQUE_TAG + t->dom)
		torture_fail("domain %u reads %lx, which another domain wrote", t->dom,
			     (unsigned long)x);
}

static void compare(struct tcpu *t, const struct view *v, const _Atomic uint64_t *page, bool full,
		    unsigned slot, const char *how, uint64_t where)
{
	uint64_t got[T_WORDS];
	unsigned bad = 512;

	for (unsigned i = 0; i < T_WORDS; i++)
		got[i] = atomic_load(&page[word_at(i)]);
	for (unsigned i = 0; full && i < 512 && bad == 512; i++)
		if (i % 73 && atomic_load(&page[i]) != tmpl_word(v->tmpl, i))
			bad = i;
	check_foreign(t, got[slot]);
	t->n[S_CHECKS]++;
	t->n[S_PAGES] += full;
	for (unsigned i = full ? 0 : slot; i < (full ? T_WORDS : slot + 1); i++)
		if (got[i] != v->val[i] && word_holds(v, i) && view_holds(v))
			torture_fail("domain %u name %lu word %u is %lx, not %lx (%s %lx)", t->dom,
				     (unsigned long)(v->n - odoms[t->dom].name), word_at(i),
				     (unsigned long)got[i], (unsigned long)v->val[i], how,
				     (unsigned long)where);
	if (bad < 512 && view_holds(v))
		torture_fail("domain %u name %lu word %u is %lx, not as template %u (%s %lx)",
			     t->dom, (unsigned long)(v->n - odoms[t->dom].name), bad,
			     (unsigned long)page[bad], v->tmpl, how, (unsigned long)where);
}

/* Read name @g through @va and compare one word or all. */
void check_at(struct tcpu *t, uint64_t g, uint64_t va, struct omap *map, bool full)
{
	unsigned slot = (unsigned)rnd_to(&t->r, T_WORDS);
	struct view v;
	struct touch x;
	bool stable = view_take(t, &v, g, map), ok;

	guest_enter();
	ok = mmu_touch(t, va, false, &x);
	if (ok && stable && v.kind == K_DATA)
		compare(t, &v, x.page, full, slot, "read at", va);
	if (ok)
		mmu_done(&x);
	guest_leave();
	if (!ok && stable && v.kind == K_DATA && view_holds(&v))
		torture_fail("domain %u name %lu at %lx is not there", t->dom, (unsigned long)g,
			     (unsigned long)va);
}

void check_page(struct tcpu *t, uint64_t g)
{
	check_at(t, g, VA_DM(g), NULL, true);
}

/* ---- writes ---------------------------------------------------------------------------------- */

static uint64_t new_value(struct tcpu *t, uint64_t g, unsigned slot)
{
	switch (rnd_to(&t->r, 8)) {
	case 0 ... 3:
		return tmpl_word(atomic_load(&tname(t, g)->tmpl), word_at(slot));
	case 4 ... 5:
		return 0xa0ULL << 56;
	default:
		return unique_word(t->dom, g, ++t->unique << 4 | t->id);
	}
}

/* A word of this thread. */
static unsigned own_slot(struct tcpu *t)
{
	unsigned first = t->id % tc.mutators, n = (T_WORDS - first + tc.mutators - 1) / tc.mutators;

	return first + tc.mutators * (unsigned)rnd_to(&t->r, n);
}

/* The name is in use by this thread. */
void put_word(struct tcpu *t, uint64_t g, uint64_t va)
{
	unsigned slot = own_slot(t);
	struct oword *w = &tname(t, g)->w[slot];
	uint64_t val = new_value(t, g, slot);
	struct touch x;

	atomic_fetch_add(&w->seq, 1);
	guest_enter();
	if (!mmu_touch(t, va, true, &x))
		torture_fail("domain %u can't write name %lu at %lx", t->dom, (unsigned long)g,
			     (unsigned long)va);
	atomic_store(&x.page[word_at(slot)], val);
	mmu_done(&x);
	guest_leave();
	atomic_store(&w->val, val);
	atomic_fetch_add(&w->seq, 1);
	t->n[S_WRITES]++;
}

bool use_data(struct tcpu *t, uint64_t g)
{
	struct oname *n = tname(t, g);

	if (!name_use(n))
		return false;
	if (atomic_load(&n->kind) == K_DATA)
		return true;
	name_unuse(n);
	return false;
}

bool take_data(struct tcpu *t, uint64_t g)
{
	struct oname *n = tname(t, g);

	if (!name_take(n))
		return false;
	if (atomic_load(&n->kind) == K_DATA)
		return true;
	name_give(n, atomic_load(&n->kind));
	return false;
}

/* The hypervisor's own write: finds the frame and writes it in one RCU section. */
static void hyp_put_word(struct tcpu *t, uint64_t g)
{
	unsigned slot = own_slot(t);
	struct oword *w = &tname(t, g)->w[slot];
	uint64_t val = new_value(t, g, slot);
	mfn_t m;

	if (!use_data(t, g))
		return;
	atomic_fetch_add(&w->seq, 1);
	m = mm_gfn_get_writable(tmm(t), GFN(g));
	if (mfn_valid_value(m)) {
		uint64_t gen = frame_state(m.v) >> 24;
		_Atomic uint64_t *page = arch_mfn_to_virt(m);

		sched_yield();
		atomic_store(&page[word_at(slot)], val);
		sched_yield();
		if (frame_state(m.v) >> 24 != gen)
			torture_fail("frame %lx was freed under the hypervisor's write",
				     (unsigned long)m.v);
		atomic_store(&w->val, val);
		t->n[S_HYP_WRITES]++;
	}
	atomic_fetch_add(&w->seq, 1);
	name_unuse(tname(t, g));
}

static void hyp_check_here(struct tcpu *t, uint64_t g)
{
	unsigned slot = (unsigned)rnd_to(&t->r, T_WORDS);
	struct view v;
	bool stable = view_take(t, &v, g, NULL);
	mfn_t m = mm_gfn_to_mfn(tmm(t), GFN(g));
	uint64_t gen;

	if (!mfn_valid_value(m))
		return;
	gen = frame_state(m.v) >> 24;
	/* A pCPU may stand still for long (its host runs something else); nobody waits for one that
	 * has no domain loaded, but for RCU. */
	if (!current_vcpu() && !tc.calm && !rnd_to(&t->r, 100))
		usleep(10000);
	if (rnd_to(&t->r, 2))
		sched_yield();
	if (stable && v.kind == K_DATA)
		compare(t, &v, arch_mfn_to_virt(m), !rnd_to(&t->r, 8), slot, "hypervisor, frame",
			m.v);
	if (frame_state(m.v) >> 24 != gen)
		torture_fail("frame %lx was freed under the hypervisor's read", (unsigned long)m.v);
}

/* Of any domain, loaded or not. */
static void hyp_op(struct tcpu *t, void (*fn)(struct tcpu *t, uint64_t g), uint64_t g)
{
	unsigned was = t->dom;

	t->dom = (unsigned)rnd_to(&t->r, tc.domains);
	fn(t, g);
	t->dom = was;
}

void hyp_check(struct tcpu *t)
{
	hyp_op(t, hyp_check_here, pick_name(t));
}

/* ---- whole pages ----------------------------------------------------------------------------- */

#define CHUNK 64

void write_template(struct tcpu *t, uint64_t g, uint32_t k)
{
	struct touch x;

	for (unsigned i = 0; i < 512; i += CHUNK) {
		guest_enter();
		if (!mmu_touch(t, VA_DM(g), true, &x))
			torture_fail("domain %u can't fill name %lu", t->dom, (unsigned long)g);
		for (unsigned j = i; j < i + CHUNK; j++)
			atomic_store_explicit(&x.page[j], tmpl_word(k, j), memory_order_release);
		mmu_done(&x);
		guest_leave();
	}
	oracle_fill(tname(t, g), k);
}

void refill(struct tcpu *t, uint64_t g)
{
	if (!take_data(t, g))
		return;
	write_template(t, g, (uint32_t)rnd_to(&t->r, 4));
	name_give(tname(t, g), K_DATA);
}

/* Both names are taken. */
static void copy_page(struct tcpu *t, uint64_t from_va, uint64_t from, uint64_t to)
{
	uint64_t buf[CHUNK];
	struct touch x;

	for (unsigned i = 0; i < 512; i += CHUNK) {
		guest_enter();
		if (!mmu_touch(t, from_va, false, &x))
			torture_fail("domain %u can't read name %lu at %lx", t->dom,
				     (unsigned long)from, (unsigned long)from_va);
		for (unsigned j = 0; j < CHUNK; j++)
			buf[j] = atomic_load_explicit(&x.page[i + j], memory_order_relaxed);
		mmu_done(&x);
		if (!mmu_touch(t, VA_DM(to), true, &x))
			torture_fail("domain %u can't copy to name %lu", t->dom, (unsigned long)to);
		for (unsigned j = 0; j < CHUNK; j++)
			atomic_store_explicit(&x.page[i + j], buf[j], memory_order_release);
		mmu_done(&x);
		guest_leave();
	}
	oracle_copy(tname(t, to), tname(t, from));
	t->n[S_COPIES]++;
}

/* A child of fork writes: own alias @i, read-only now, goes on with a copy. */
static void fork_copy(struct tcpu *t, unsigned i, uint64_t to)
{
	struct omap *m = own_map(t, i);
	uint64_t from, va = VA_ALIAS(m - odoms[t->dom].map);
	struct touch x;
	bool ok;

	protect_maps(t);
	from = atomic_load(&m->gfn);
	if (!from || from == to)
		return;
	guest_enter();
	ok = mmu_touch(t, va, true, &x);
	guest_leave();
	if (ok)
		torture_fail("domain %u wrote at %lx, which it had write-protected", t->dom,
			     (unsigned long)va);
	if (!take_data(t, from))
		return;
	if (take_data(t, to)) {
		copy_page(t, va, from, to);
		name_give(tname(t, to), K_DATA);
	}
	name_give(tname(t, from), K_DATA);
	remap(t, i, to, true);
}

/* How far the balloon is from what the controller has told it; half of the time it does not look. */
static int64_t balloon_off(struct tcpu *t)
{
	struct domain *d = odoms[t->dom].d;
	uint64_t told = memctl_balloon_bound(d) ? memctl_balloon_target(d) : 0;

	return told && rnd_to(&t->r, 2) ? (int64_t)told - mm_sum(tmm(t), MMN_GONE) : 0;
}

void balloon(struct tcpu *t, uint64_t g)
{
	struct oname *n = tname(t, g);
	enum name_kind kind;
	int64_t off;

	if (!name_take(n))
		return;
	kind = atomic_load(&n->kind);
	off = balloon_off(t);
	if (kind == K_DATA && (off ? off > 0 : !rnd_to(&t->r, 4)) && !mm_decrease(tmm(t), GFN(g))) {
		t->n[S_GIVEN_UP]++;
		t->n[S_FOLLOWED] += off > 0;
		oracle_fill(n, 0);
		kind = K_GONE;
	} else if (kind == K_GONE && (off ? off < 0 : rnd_to(&t->r, 2))) {
		/* It gave the frame up while it was mapped; before it uses the name again, a guest
		 * must flush its own stale translations. */
		tlb_shootdown_mm(tmm(t));
		if (rnd_to(&t->r, 2) ? mm_populate(tmm(t), GFN(g), 1) == 1
				     : !mm_promise(tmm(t), GFN(g))) {
			t->n[S_BACK]++;
			kind = K_DATA;
		}
	}
	name_give(n, kind);
}

/* ---- the choice ------------------------------------------------------------------------------ */

void write_dm(struct tcpu *t, uint64_t g)
{
	if (!use_data(t, g))
		return;
	put_word(t, g, VA_DM(g));
	name_unuse(tname(t, g));
}

/* Through this thread's alias, or only read through another's. */
static void use_alias(struct tcpu *t)
{
	bool own = rnd_to(&t->r, 2);
	unsigned at =
		own ? (unsigned)(own_map(t, (unsigned)rnd_to(&t->r, T_MAPS)) - odoms[t->dom].map)
		    : (unsigned)rnd_to(&t->r, tc.mutators * T_MAPS);
	struct omap *m = &odoms[t->dom].map[at];
	uint64_t g = atomic_load(&m->gfn);
	bool write = rnd_to(&t->r, 2);

	if (!g || (!own && !atomic_load(&m->pub)))
		return;
	if (own && write && atomic_load(&m->rw)) {
		if (!use_data(t, g))
			return;
		put_word(t, g, VA_ALIAS(at));
		name_unuse(tname(t, g));
	} else {
		check_at(t, g, VA_ALIAS(at), m, !rnd_to(&t->r, 8));
	}
}

static void look_at_chaos(struct tcpu *t)
{
	uint64_t va = VA_CHAOS(rnd_to(&t->r, 2) * 512 + rnd_to(&t->r, CHAOS_ENTRIES));
	struct touch x;

	guest_enter();
	if (mmu_touch(t, va, false, &x)) {
		check_foreign(t, atomic_load(&x.page[word_at((unsigned)rnd_to(&t->r, T_WORDS))]));
		mmu_done(&x);
	}
	mmu_audit(t);
	guest_leave();
}

/* Off and on again, perhaps with another domain. */
static void switch_vcpu(struct tcpu *t)
{
	unsigned to = rnd_to(&t->r, 4) ? hot_domain(t->op) : (unsigned)rnd_to(&t->r, tc.domains);

	arch_context_switch(this_pcpu()->current, NULL);
	mmu_flush_all(t);
	between();
	t->dom = to;
	arch_context_switch(NULL, odoms[to].d->vcpu[t->id]);
	mmu_flush_all(t);
}

static const struct {
	const char *name;
	unsigned weight;
} ops[] = {{"write", 20}, {"alias", 20}, {"check", 10},	  {"refill", 5},    {"remap", 8},
	   {"fork", 4},	  {"table", 6},	 {"balloon", 12}, {"hyp-write", 5}, {"hyp-check", 5},
	   {"chaos", 8},  {"look", 6},	 {"switch", 3},	  {"drain", 1},	    {"scan", 12}};

/* A missing flush is hidden by one that is made for another reason: then leave those out. */
static bool flushes(unsigned what)
{
	return (what >= 4 && what <= 7) || what == 10 || what == 12 || what == 13;
}

static unsigned choose(struct tcpu *t)
{
	unsigned sum = 0, x, i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	x = (unsigned)rnd_to(&t->r, sum);
	for (i = 0; x >= ops[i].weight; i++)
		x -= ops[i].weight;
	return i;
}

void guest_op(struct tcpu *t)
{
	uint64_t op = atomic_load_explicit(&t->op, memory_order_relaxed) + 1, g;
	unsigned what;

	atomic_store_explicit(&t->op, op, memory_order_relaxed);
	/* What an operation draws does not change the next ones. */
	t->r.s = mix(tc.seed ^ mix(t->id << 20 | 1) ^ op * 0x9e3779b97f4a7c15ULL) | 1;
	what = choose(t);
	if (tc.calm && flushes(what))
		what = 0;
	atomic_store_explicit(&t->doing, ops[what].name, memory_order_relaxed);
	g = pick_name(t);
	t->n[S_OPS]++;
	switch (what) {
	case 0:
		write_dm(t, g);
		break;
	case 1:
		use_alias(t);
		break;
	case 2:
		check_at(t, g, VA_DM(g), NULL, rnd_to(&t->r, 2));
		break;
	case 3:
		refill(t, g);
		break;
	case 4:
		remap(t, (unsigned)rnd_to(&t->r, T_MAPS), rnd_to(&t->r, 8) ? g : 0,
		      rnd_to(&t->r, 3));
		break;
	case 5:
		fork_copy(t, (unsigned)rnd_to(&t->r, T_MAPS), g);
		break;
	case 6:
		own_table_op(t, g);
		break;
	case 7:
		for (uint64_t i = 0; i < 4; i++)
			balloon(t, N_FIRST_DATA + (g + 29 * i) % N_DATA);
		break;
	case 8:
		hyp_op(t, hyp_put_word, g);
		break;
	case 9:
		hyp_check(t);
		break;
	case 10:
		chaos(t);
		break;
	case 11:
		look_at_chaos(t);
		break;
	case 12:
		switch_vcpu(t);
		break;
	case 13:
		if (rnd_to(&t->r, 2))
			tlb_retire_drain(); /* as one that is asked to */
		else
			tlb_retire_idle();
		break;
	default:
		if (rnd_to(&t->r, 2))
			scan_step(t, &t->r);
		else
			scan_idle(this_pcpu());
		break;
	}
	if (unlikely(atomic_load(&odoms[t->dom].d->end) != END_NONE))
		torture_fail("domain %u was ended: %s", t->dom, odoms[t->dom].d->reason);
}
