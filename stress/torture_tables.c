/* SPDX-License-Identifier: MIT */
/* What a simulated guest does with its page tables; see torture.h. */
#include "torture_guest.h"

static uint64_t entry(uint64_t g, uint64_t flags)
{
	return g << PAGE_SHIFT | flags;
}

/* A hypercall and its continuations. */
static long hc(long (*fn)(uint64_t, uint64_t, uint64_t, uint64_t), uint64_t a, uint64_t b,
	       uint64_t c, uint64_t d)
{
	uint64_t *args = current_vcpu()->hc.args;
	long rc;

	args[0] = a, args[1] = b, args[2] = c, args[3] = d;
	while ((rc = fn(args[0], args[1], args[2], args[3])) == -HC_CONTINUE)
		between();
	return rc;
}

static long set_entry(uint64_t table, unsigned i, uint64_t val)
{
	struct mmu_update u = {table << PAGE_SHIFT | i << 3, val};

	return hc(do_mmu_update, (uint64_t)&u, 1, 0, DOMID_SELF);
}

static void must_set(struct tcpu *t, uint64_t table, unsigned i, uint64_t val)
{
	long rc;

	/* Out of memory: what there is may be in other pCPUs' caches. */
	while ((rc = set_entry(table, i, val)) == -XEN_ENOMEM) {
		between();
		sched_yield();
	}
	if (rc)
		torture_fail("domain %u: entry %u of table %lu refused: %ld", t->dom, i,
			     (unsigned long)table, rc);
}

static uint64_t leaf_flags(struct rnd *r, bool rw)
{
	switch (rnd_to(r, 4)) {
	case 0:
		return PTE_P | (rw ? PTE_RW : 0);
	case 1:
		return PTE_P | PTE_A | (rw ? PTE_RW : 0);
	default:
		return rw ? P_RW_AD : P_RO_A;
	}
}

/* Change the L1 entry behind @va in one of the ways a guest has; whether it was changed. */
static bool change_leaf(struct tcpu *t, uint64_t va, uint64_t val, bool everywhere)
{
	unsigned i = pt_index(va, 1);
	uint64_t flags = everywhere ? UVMF_TLB_FLUSH | UVMF_ALL : UVMF_INVLPG | UVMF_LOCAL;
	uint64_t old, seen, at = VA_DM(N_ALIAS) + i * sizeof(uint64_t);
	int rc;

	switch (rnd_to(&t->r, 3)) {
	case 0:
		while ((rc = (int)do_update_va_mapping(va, val, flags)) == -HC_CONTINUE)
			between();
		return !rc;
	case 1: /* a trapped store */
		do {
			if (mm_pt_read(tmm(t), arch_root(&current_vcpu()->arch), at, &old))
				torture_fail("domain %u can't read its table at %lx", t->dom,
					     (unsigned long)at);
			rc = mm_pt_cmpxchg(tmm(t), arch_root(&current_vcpu()->arch), at, old, val,
					   &seen);
			if (rc == MM_PREEMPTED)
				between();
		} while (rc == MM_PREEMPTED || (!rc && seen != old));
		if (rc)
			return false;
		break;
	default:
		if (set_entry(N_ALIAS, i, val))
			return false;
		break;
	}
	if (everywhere)
		tlb_shootdown_mm(tmm(t));
	else
		arch_tlb_flush_one(va);
	return true;
}

void remap(struct tcpu *t, unsigned i, uint64_t g, bool rw)
{
	struct omap *m = own_map(t, i);
	bool everywhere = !rnd_to(&t->r, 8);
	uint64_t val;

	rw = rw && g < N_QUIET;
	val = g ? entry(g, leaf_flags(&t->r, rw)) : 0;
	atomic_fetch_add(&m->seq, 1);
	if (change_leaf(t, VA_ALIAS(m - odoms[t->dom].map), val, everywhere)) {
		atomic_store(&m->gfn, (uint32_t)g);
		atomic_store(&m->rw, rw);
		atomic_store(&m->pub, everywhere);
		t->n[S_REMAPS]++;
	}
	atomic_fetch_add(&m->seq, 1);
}

void protect_maps(struct tcpu *t)
{
	struct mmu_update u[T_MAPS];
	unsigned n = 0;
	long rc;

	for (unsigned i = 0; i < T_MAPS; i++) {
		struct omap *m = own_map(t, i);
		uint64_t at = (uint64_t)(m - odoms[t->dom].map);

		if (!atomic_load(&m->gfn) || !atomic_load(&m->rw))
			continue;
		u[n].ptr = (uint64_t)N_ALIAS << PAGE_SHIFT | at << 3 | MMU_PT_UPDATE_PRESERVE_AD;
		u[n++].val = entry(atomic_load(&m->gfn), PTE_P | PTE_A);
	}
	if (!n)
		return;
	rc = hc(do_mmu_update, (uint64_t)u, n, 0, DOMID_SELF);
	tlb_flush_local();
	if (!rc) {
		for (unsigned i = 0; i < T_MAPS; i++)
			atomic_store(&own_map(t, i)->rw, false);
		return;
	}
	/* One of the names is gone: unmap them all, one after the other. */
	for (unsigned i = 0; i < T_MAPS; i++)
		remap(t, i, 0, false);
}

/* ---- a table of one's own -------------------------------------------------------------------- */

static void reap(struct tcpu *t)
{
	while (mm_reap(tmm(t)))
		between();
}

static int pin(struct tcpu *t, uint64_t g, unsigned level)
{
	int rc;

	while ((rc = mm_pin(tmm(t), GFN(g), level)) == MM_PREEMPTED)
		between();
	return rc;
}

/* The taken name becomes ordinary data again. */
static void back_to_data(struct tcpu *t, uint64_t g)
{
	must_set(t, N_DM, (unsigned)g, entry(g, P_RW_AD));
	arch_tlb_flush_one(VA_DM(g));
	write_template(t, g, (uint32_t)rnd_to(&t->r, 4));
	name_give(tname(t, g), K_DATA);
}

static void table_make(struct tcpu *t, struct own_table *o, uint64_t g)
{
	struct touch x;

	if (!take_data(t, g))
		return;
	atomic_store(&tname(t, g)->kind, K_TABLE);
	write_template(t, g, 0);
	guest_enter();
	for (unsigned i = 0; i < T_MAPS; i++) {
		o->map[i] = (uint32_t)pick_name(t);
		o->rw[i] = o->map[i] < N_QUIET && rnd_to(&t->r, 2);
		if (!mmu_touch(t, VA_DM(g), true, &x))
			torture_fail("domain %u can't fill a new table", t->dom);
		if (atomic_load(&tname(t, o->map[i])->kind) != K_DATA)
			o->map[i] = (uint32_t)(o->rw[i] = 0);
		else
			atomic_store(&x.page[i], entry(o->map[i], leaf_flags(&t->r, o->rw[i])));
		mmu_done(&x);
	}
	guest_leave();
	must_set(t, N_DM, (unsigned)g, entry(g, P_RO_A));
	if (pin(t, g, 1)) { /* mapped writable by someone, or one of its names is gone */
		reap(t);
		back_to_data(t, g);
		return;
	}
	o->gfn = (unsigned)g;
	o->linked = false;
	t->n[S_TABLES]++;
}

static void table_link(struct tcpu *t, struct own_table *o, bool on)
{
	must_set(t, N_L2, SLOT_TABLE(t->id), on ? entry(o->gfn, P_TABLE) : 0);
	if (!on)
		tlb_flush_local();
	o->linked = on;
}

static void table_use(struct tcpu *t, struct own_table *o)
{
	unsigned i = (unsigned)rnd_to(&t->r, T_MAPS);
	uint64_t g = o->map[i];

	if (!g || !use_data(t, g))
		return;
	if (o->rw[i])
		put_word(t, g, VA_TABLE(t->id, i));
	else
		check_at(t, g, VA_TABLE(t->id, i), NULL, true);
	name_unuse(tname(t, g));
}

static void table_change(struct tcpu *t, struct own_table *o, uint64_t g)
{
	unsigned i = (unsigned)rnd_to(&t->r, T_MAPS);
	bool rw = g < N_QUIET && rnd_to(&t->r, 2);

	if (set_entry(o->gfn, i, entry(g, leaf_flags(&t->r, rw))))
		return;
	tlb_flush_local();
	o->map[i] = (uint32_t)g;
	o->rw[i] = rw;
}

void own_table_drop(struct tcpu *t)
{
	struct own_table *o = &t->tab[t->dom];
	uint64_t g = o->gfn;
	int rc;

	if (!g)
		return;
	if (o->linked)
		table_link(t, o, false);
	rc = mm_unpin(tmm(t), GFN(g));
	if (rc)
		torture_fail("domain %u: unpin of name %lu: %d", t->dom, (unsigned long)g, rc);
	reap(t);
	o->gfn = 0;
	back_to_data(t, g);
}

void own_table_op(struct tcpu *t, uint64_t g)
{
	struct own_table *o = &t->tab[t->dom];

	if (!o->gfn) {
		table_make(t, o, N_QUIET + g % (T_NAMES - N_QUIET));
		return;
	}
	switch (rnd_to(&t->r, 8)) {
	case 0:
		own_table_drop(t);
		break;
	case 1:
		table_link(t, o, !o->linked);
		break;
	case 2 ... 3:
		table_change(t, o, g);
		break;
	default:
		if (o->linked)
			table_use(t, o);
		else
			table_link(t, o, true);
		break;
	}
}

/* ---- entries that nobody owns ---------------------------------------------------------------- */

static void chaos_pin(struct tcpu *t)
{
	uint64_t g = N_CHAOS + rnd_to(&t->r, 2);

	if (rnd_to(&t->r, 2))
		pin(t, g, 1);
	else
		mm_unpin(tmm(t), GFN(g));
	reap(t);
}

static void chaos_base(struct tcpu *t)
{
	struct mmuext_op op = {.cmd = MMUEXT_NEW_BASEPTR};

	op.arg1.mfn = rnd_to(&t->r, 2) ? N_L4 : N_L4B;
	hc(do_mmuext_op, (uint64_t)&op, 1, 0, DOMID_SELF);
	mmu_flush_all(t); /* the CR3 load */
}

void chaos(struct tcpu *t)
{
	struct mmu_update u[4];
	unsigned n = 1 + (unsigned)rnd_to(&t->r, 4);

	if (!rnd_to(&t->r, 8)) {
		chaos_pin(t);
		return;
	}
	if (!rnd_to(&t->r, 8)) {
		chaos_base(t);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		uint64_t target = 1 + rnd_to(&t->r, T_NAMES - 1);

		if (rnd_to(&t->r, 8)) {
			u[i].ptr = (N_CHAOS + rnd_to(&t->r, 2)) << PAGE_SHIFT |
				   rnd_to(&t->r, CHAOS_ENTRIES) << 3;
			u[i].val = entry(target,
					 leaf_flags(&t->r, target < N_QUIET && !rnd_to(&t->r, 3)));
			if (!rnd_to(&t->r, 4))
				u[i].val = 0;
		} else {
			u[i].ptr = (uint64_t)N_L2 << PAGE_SHIFT | (2 + rnd_to(&t->r, 2)) << 3;
			u[i].val =
				rnd_to(&t->r, 4) ? entry(N_CHAOS + rnd_to(&t->r, 2), P_TABLE) : 0;
		}
	}
	hc(do_mmu_update, (uint64_t)u, n, 0, DOMID_SELF);
}

void guest_begin(struct tcpu *t)
{
	for (unsigned d = tc.domains; d-- > 0;) {
		struct vcpu *v = odoms[d].d->vcpu[t->id];
		mfn_t root;
		int rc;

		t->dom = d;
		this_pcpu()->current = v;
		while ((rc = mm_base_get(tmm(t), GFN(N_L4), &root)) == MM_PREEMPTED)
			between();
		if (rc)
			torture_fail("domain %u has no base table: %d", d, rc);
		v->arch.kernel_l4 = GFN(N_L4);
		v->arch.kernel_root = root;
	}
	arch_context_switch(NULL, odoms[0].d->vcpu[t->id]);
	mmu_flush_all(t);
}

/* What the thread holds goes back, so that every name is data or given up at rest. */
void guest_end(struct tcpu *t)
{
	for (unsigned d = 0; d < tc.domains; d++) {
		t->dom = d;
		arch_context_switch(this_pcpu()->current, odoms[d].d->vcpu[t->id]);
		mmu_flush_all(t);
		own_table_drop(t);
		reap(t);
	}
}
