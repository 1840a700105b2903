/* SPDX-License-Identifier: MIT */
/* Random sequences of all page-table operations against the oracle of mm_test.h. */
#include "mm_test.h"

static struct rnd R;

static const uint64_t tables[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static uint64_t some_name(void)
{
	switch (rnd_to(&R, 8)) {
	case 0:
	case 1:
	case 2:
		return tables[rnd_to(&R, ARRAY_SIZE(tables))];
	case 3:
		return 512 + rnd_to(&R, T_NAMES - 512 + 3); /* some beyond the end */
	case 4:
		return rnd_to(&R, 40) ? 300 : rnd(&R) & 0xffffffffff;
	default:
		return 13 + rnd_to(&R, 60);
	}
}

static unsigned some_index(uint64_t name)
{
	static const unsigned fixed[] = {0, 1, 2, 3, 7, 255, 256, 271, 272, 511};

	return rnd_to(&R, 3) ? fixed[rnd_to(&R, ARRAY_SIZE(fixed))] : name & 511;
}

static uint64_t some_flags(void)
{
	uint64_t f = 0;

	if (rnd_to(&R, 5))
		f |= PTE_P;
	f |= rnd(&R) & (PTE_RW | PTE_A | PTE_D | PTE_US | PTE_NX);
	if (!rnd_to(&R, 3))
		f |= PTE_A | PTE_D;
	if (!rnd_to(&R, 30))
		f |= rnd(&R) & (PTE_PSE | PTE_PCD | PTE_PWT | PTE_G);
	if (!rnd_to(&R, 10))
		f |= rnd(&R) & (0xe00ULL | 0x7ffULL << 52);
	return f;
}

/* ---- prediction of results ---- */

struct sim {
	struct model m;
	unsigned writable[T_NAMES]; /* writable hardware mappings */
	bool filled[T_NAMES];
};

static void sim_init(struct sim *s)
{
	memset(s, 0, sizeof(*s));
	model_build(&s->m);
	for (uint64_t g = 0; g < T_NAMES; g++) {
		s->filled[g] = s->m.level[g];
		if (s->m.level[g] != 1)
			continue;
		uint64_t *hw = arch_mfn_to_virt(PT_HW(rec_of(g)->pt));
		_Atomic uint64_t *gp = guest_page(g);

		for (unsigned i = 0; i < 512; i++)
			if (hw[i] & PTE_RW)
				s->writable[pte_frame(gp[i])]++;
	}
}

static long sim_leaf(struct sim *s, uint64_t e)
{
	uint64_t t = pte_frame(e);

	if (!(e & PTE_P))
		return 0;
	if (!backed(t))
		return -XEN_EINVAL;
	if (e & PTE_RW && s->m.level[t])
		return -XEN_EBUSY;
	return 0;
}

static long sim_get(struct sim *s, uint64_t gfn, unsigned level)
{
	_Atomic uint64_t *g;

	if (!backed(gfn))
		return -XEN_EINVAL;
	if (s->m.level[gfn])
		return s->m.level[gfn] == level ? 0 : -XEN_EINVAL;
	if (s->writable[gfn])
		return -XEN_EINVAL;
	s->m.level[gfn] = level;
	g = guest_page(gfn);
	for (unsigned i = 0; i < 512; i++) {
		long rc;

		if (!(g[i] & PTE_P) || (level == 4 && i >= 256 && i < 272))
			continue;
		if (level == 1) {
			rc = sim_leaf(s, g[i]);
			if (!rc && (g[i] & P_RW_AD) == P_RW_AD)
				s->writable[pte_frame(g[i])]++;
		} else if (g[i] & TABLE_DISALLOW) {
			rc = -XEN_EINVAL;
		} else {
			rc = sim_get(s, pte_frame(g[i]), level - 1);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static long sim_write(struct sim *s, uint64_t gfn, unsigned i, uint64_t val)
{
	unsigned level = gfn < T_NAMES ? s->m.level[gfn] : 0;

	if (!backed(gfn))
		return -XEN_EINVAL;
	if (!level)
		return 0;
	if (level == 1)
		return sim_leaf(s, val);
	if (level == 4 && i >= 256 && i < 272 && guest_page(gfn)[i] != val)
		return -XEN_EINVAL;
	if (!(val & PTE_P))
		return 0;
	if (val & TABLE_DISALLOW)
		return -XEN_EINVAL;
	if (level == 4 && i >= 256 && i < 272)
		return sim_get(s, pte_frame(val), level - 1);
	return sim_get(s, pte_frame(val), level - 1);
}

/* Tables that come or go change what may be mapped writable. */
static void touch_tables(const struct model *before)
{
	static struct model after;

	model_build(&after);
	for (unsigned g = 0; g < T_NAMES; g++)
		if (after.level[g] != before->level[g])
			t_touched[g] = true;
}

static struct sim S;

static void op_write(void)
{
	struct mmu_update u;
	uint64_t name = tables[rnd_to(&R, ARRAY_SIZE(tables))], target = some_name();
	unsigned i = some_index(target);
	uint64_t flags = some_flags();
	bool keep = !rnd_to(&R, 4);
	long want, rc;
	uint64_t ad = 0;

	if (!rnd_to(&R, 50))
		name = some_name();
	u.ptr = name << 12 | i << 3 | (keep ? MMU_PT_UPDATE_PRESERVE_AD : MMU_NORMAL_PT_UPDATE);
	u.val = entry(target, flags);
	sim_init(&S);
	static struct model before;
	before = S.m;
	want = sim_write(&S, name, i, u.val);
	if (keep && backed(name) && S.m.level[name])
		ad = guest_page(name)[i] & (PTE_A | PTE_D);
	rc = hc4(do_mmu_update, (uint64_t)&u, 1, 0, DOMID_SELF);
	reap_all();
	cr_assert_eq(rc, want, "write %llx to %llu[%u]: %ld, expected %ld",
		     (unsigned long long)u.val, (unsigned long long)name, i, rc, want);
	if (!rc) {
		uint64_t now = guest_page(name)[i];

		if (keep && before.level[name])
			cr_assert_eq(now, (u.val & ~(PTE_A | PTE_D)) | ad);
		else
			cr_assert_eq(now, u.val);
		touch_tables(&before);
	}
}

static void op_pin(void)
{
	uint64_t g = tables[rnd_to(&R, ARRAY_SIZE(tables))];
	unsigned level = 1 + rnd_to(&R, 4);
	long want, rc;
	static struct model before;

	if (g < 12 && rnd_to(&R, 4)) /* mostly the same level for the same table */
		level = g < 3 ? 4 : g < 5 ? 3 : g < 7 ? 2 : 1;
	sim_init(&S);
	before = S.m;
	want = sim_get(&S, g, level);
	if (!want && t_pins[g])
		want = -XEN_EINVAL;
	rc = pin_all(g, level);
	reap_all();
	cr_assert_eq(rc, want, "pin %llu as L%u: %ld, expected %ld", (unsigned long long)g, level,
		     rc, want);
	if (!rc) {
		t_pins[g] = 1;
		t_pin_level[g] = level;
	}
	touch_tables(&before);
}

static void op_unpin(void)
{
	uint64_t g = tables[rnd_to(&R, ARRAY_SIZE(tables))];
	static struct model before;

	model_build(&before);
	cr_assert_eq(mm_unpin(mm, GFN(g)), t_pins[g] ? 0 : -XEN_EINVAL);
	reap_all();
	t_pins[g] = 0;
	touch_tables(&before);
}

static void op_base(void)
{
	uint64_t g = tables[rnd_to(&R, 4)];
	static struct model before;
	mfn_t root;
	long want;

	model_build(&before);
	if (t_bases[g]) {
		mm_base_put(mm, GFN(g));
		reap_all();
		t_bases[g]--;
	} else {
		sim_init(&S);
		want = sim_get(&S, g, 4);
		cr_assert_eq(base_all(g, &root), want);
		reap_all();
		if (!want) {
			t_bases[g]++;
			cr_assert_eq(root.v, PT_HW(rec_of(g)->pt).v);
		}
	}
	touch_tables(&before);
}

static void op_balloon(void)
{
	uint64_t g = rnd_to(&R, 4) ? 13 + rnd_to(&R, 60) : some_name();
	static struct model m;

	model_build(&m);
	if (rnd_to(&R, 2)) {
		long want = !backed(g) ? -XEN_EINVAL : m.level[g] ? -XEN_EBUSY : 0;

		cr_assert_eq(mm_decrease(mm, GFN(g)), want);
	} else {
		uint64_t n = mm_populate(mm, GFN(g), 1);

		cr_assert_eq(n, g < T_NAMES ? 1 : 0);
	}
	if (g < T_NAMES)
		t_touched[g] = true;
}

/* A walk of the guest's tables as the architecture defines it. */
static bool guest_walk(uint64_t root, uint64_t va, uint64_t *rights, uint64_t *leaf)
{
	uint64_t g = root;

	*rights = PTE_RW | PTE_NX; /* NX here: may execute */
	for (unsigned level = 4;; level--) {
		uint64_t e = guest_page(g)[pt_index(va, level)];

		if (!(e & PTE_P))
			return false;
		*rights &= e ^ PTE_NX;
		*leaf = e;
		if (level == 1)
			return true;
		g = pte_frame(e);
	}
}

static void op_fault(void)
{
	uint64_t g = tables[rnd_to(&R, 4)], va = 0, rights, leaf, now;
	uint32_t ec = 4u | (rnd_to(&R, 2) ? 2 : 0) | (rnd_to(&R, 3) ? 0 : 16) | rnd_to(&R, 2);
	bool kernel = rnd_to(&R, 2), walked, allowed;
	static struct model m;
	enum mm_fault_result r;
	uint32_t guest_ec = ~0u;

	model_build(&m);
	if (m.level[g] != 4)
		return;
	do {
		for (unsigned l = 1; l <= 4; l++)
			va |= (uint64_t)some_index(some_name()) << (12 + 9 * (l - 1));
	} while (pt_index(va, 4) - 256u < 16 && (va = 0, true));
	if (ec & 2)
		ec &= ~16u;
	walked = guest_walk(g, va, &rights, &leaf);
	r = mm_fault(mm, PT_HW(rec_of(g)->pt), va, ec, kernel, &guest_ec);
	allowed = walked && (!(ec & 2) || rights & PTE_RW) && (!(ec & 16) || rights & PTE_NX);
	if (!walked) {
		cr_assert_eq(r, MM_FAULT_GUEST);
		cr_assert_eq(guest_ec, (ec & 18) | (kernel ? 0 : 4));
		return;
	}
	uint64_t t = pte_frame(leaf);

	if (!allowed) {
		bool table = t < T_NAMES && m.level[t];

		if (kernel && ec & 2 && !(leaf & PTE_RW) && table) {
			cr_assert_eq(r, MM_FAULT_PTWRITE);
			return;
		}
		cr_assert_eq(r, MM_FAULT_GUEST);
		cr_assert_eq(guest_ec, (ec & 18) | 1 | (kernel ? 0 : 4));
		return;
	}
	guest_walk(g, va, &rights, &now);
	cr_assert_eq(now, leaf | PTE_A | (ec & 2 ? PTE_D : 0));
	if (!backed(t)) {
		cr_assert_eq(r, MM_FAULT_GUEST);
		cr_assert_eq(guest_ec & 8, 8);
	} else {
		cr_assert_eq(r, MM_FAULT_RETRY);
	}
}

static void op_ptstore(void)
{
	uint64_t g = tables[rnd_to(&R, 4)], va = 0, rights, leaf, seen = 0, was, val;
	static struct model m;
	unsigned i;
	long rc, want;

	model_build(&m);
	if (m.level[g] != 4)
		return;
	for (unsigned l = 1; l <= 4; l++)
		va |= (uint64_t)some_index(some_name()) << (12 + 9 * (l - 1));
	if (pt_index(va, 4) - 256u < 16)
		return;
	val = some_name();
	i = some_index(val);
	val = entry(val, some_flags());
	va |= i << 3;
	if (!guest_walk(g, va, &rights, &leaf) || pte_frame(leaf) >= T_NAMES ||
	    !m.level[pte_frame(leaf)]) {
		cr_assert_eq(mm_pt_cmpxchg(mm, PT_HW(rec_of(g)->pt), va, 0, val, &seen),
			     -XEN_EFAULT);
		return;
	}
	sim_init(&S);
	want = sim_write(&S, pte_frame(leaf), i, val);
	was = guest_page(pte_frame(leaf))[i];
	while ((rc = mm_pt_cmpxchg(mm, PT_HW(rec_of(g)->pt), va, was, val, &seen)) == MM_PREEMPTED)
		between();
	mm_wip_drop(mm);
	cr_assert_eq(rc, want);
	reap_all();
	cr_assert_eq(guest_page(pte_frame(leaf))[i], rc ? was : val);
	if (!rc)
		cr_assert_eq(seen, was);
	touch_tables(&m);
}

/* Something to start from: an L4 with a path to an L1 that maps data and, read-only, the tables. */
static void layout(void)
{
	guest_page(1)[0] = entry(3, P_TABLE);
	guest_page(3)[0] = entry(5, P_TABLE);
	guest_page(5)[0] = entry(7, P_TABLE);
	for (unsigned i = 0; i < 512; i++)
		guest_page(7)[i] = entry(i, i >= 1 && i <= 12 ? P_RO_A : P_RW_AD);
}

static uint64_t coverage[8];

static void run(uint64_t steps)
{
	for (uint64_t n = 0; n < steps; n++) {
		unsigned op = rnd_to(&R, 16);

		coverage[op / 2]++;
		switch (op) {
		case 0 ... 5:
			op_write();
			break;
		case 6:
		case 7:
			op_pin();
			break;
		case 8:
			op_unpin();
			break;
		case 9:
			op_base();
			break;
		case 10:
		case 11:
			op_balloon();
			break;
		case 12:
		case 13:
			op_fault();
			break;
		case 14:
			op_ptstore();
			break;
		default:
			/* The guest clears a page that is no table now. */
			if (!rnd_to(&R, 10) && backed(12) && !rec_is_table(rec_of(12)))
				memset((void *)guest_page(12), 0, PAGE_SIZE);
			break;
		}
		between();
		if (n % 16 == 0)
			check_all();
	}
}

Test(mm_model, random_operations)
{
	machine_memory();
	host_sim_init(2);
	R.s = seed_from_env() * 2654435761u + 1;
	for (unsigned round = 0; round < 12; round++) {
		domain_make(T_NAMES, 1);
		cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
		arch_context_switch(NULL, dom->vcpu[0]);
		layout();
		cr_assert_eq(pin_all(1, 4), 0);
		t_pins[1] = 1;
		t_pin_level[1] = 4;
		check_all();
		run(3000);
		arch_context_switch(dom->vcpu[0], NULL);
		domain_done();
	}
}
