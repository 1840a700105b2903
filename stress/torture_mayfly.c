/* SPDX-License-Identifier: MIT */
/*
 * A domain that is born, used, found by scanners and swap, and torn down, again and again in the same
 * memory and under the same id, while the others go on. One pCPU is its midwife, its only vCPU and
 * its undertaker, in the order that core/domain_end.c keeps: off the pCPU, found by nobody, a grace
 * period, teardown. Its pages are as the others', so its shares and hints outlive it.
 */
#include "memsvc/memctl.h"
#include "memsvc/name.h"
#include "memsvc/scan.h"
#include "memsvc/swap.h"
#include "torture_guest.h"

#define FRAMES_MIN 250 /* free, for a life to be worth its while */
#define OPS_MAX 300

static struct domain *block;
static _Atomic(struct domain *) live;
static uint64_t lives;
int64_t mayfly_counts[MMC_KINDS];

struct domain *mayfly_domain(void)
{
	return atomic_load(&live);
}

domid_t mayfly_id(void)
{
	unsigned cpus = nr_pcpus(), id = tc.mutators + tc.scanners;

	while (id <= tc.domains)
		id += cpus;
	return (domid_t)id;
}

void mayfly_begin(void)
{
	if (!block)
		block = aligned_alloc(CACHE_LINE, ROUND_UP(sizeof(*block), CACHE_LINE));
	memset(mayfly_counts, 0, sizeof(mayfly_counts));
}

static bool born(struct tcpu *t)
{
	struct domain *d = block;
	struct vcpu *v;
	mfn_t root;
	int rc;

	memset(d, 0, sizeof(*d));
	memset(&odoms[t->dom], 0, sizeof(odoms[t->dom]));
	odoms[t->dom].d = d;
	d->id = mayfly_id();
	d->start_ns = ++lives;
	d->max_vcpus = 1;
	v = torture_vcpu(d, 0);
	if (mm_init(&d->mm, d->id, T_NAMES, NULL, 0))
		return false;
	if (!torture_tables(&d->mm))
		return false;
	this_pcpu()->current = v;
	while ((rc = mm_base_get(&d->mm, GFN(N_L4), &root)) == MM_PREEMPTED)
		between();
	this_pcpu()->current = NULL;
	if (rc)
		return false;
	v->arch.kernel_l4 = GFN(N_L4);
	v->arch.kernel_root = root;
	return policy_domain(d, &t->r, lives % 2);
}

static void use(struct tcpu *t, uint64_t g)
{
	switch (rnd_to(&t->r, 8)) {
	case 0 ... 2:
		refill(t, g);
		break;
	case 3:
		write_dm(t, g);
		break;
	case 4:
		balloon(t, g);
		break;
	case 5:
		t->n[S_SWAPPED] += swap_pump(tmm(t), 1 + (unsigned)rnd_to(&t->r, 40));
		break;
	case 6:
		scan_idle(this_pcpu());
		break;
	default:
		check_page(t, g);
		break;
	}
}

static void live_a_life(struct tcpu *t, uint64_t op)
{
	uint64_t ops;

	arch_context_switch(NULL, block->vcpu[0]);
	mmu_flush_all(t);
	atomic_store(&live, block);
	t->r.s = mix(tc.seed ^ mix(t->id << 20 | 5) ^ op) | 1;
	ops = 1 + rnd_to(&t->r, OPS_MAX);
	for (uint64_t i = 0; i < ops && torture_working(); i++) {
		uint64_t g = N_FIRST_DATA + rnd_to(&t->r, N_DATA);

		atomic_fetch_add(&t->op, 1);
		if (atomic_load(&tname(t, g)->kind) == K_DATA)
			use(t, g);
		else
			balloon(t, g);
		between();
	}
	arch_context_switch(this_pcpu()->current, NULL);
	mmu_flush_all(t);
	atomic_store(&live, NULL);
}

static _Atomic bool gp_over;

static void note_gp(struct rcu_head *h)
{
	(void)h;
	atomic_store(&gp_over, true);
}

static void wait_gp(void)
{
	static struct rcu_head rcu;

	atomic_store(&gp_over, false);
	call_rcu(&rcu, note_gp);
	while (!atomic_load(&gp_over)) {
		between();
		sched_yield();
	}
}

static void buried(struct tcpu *t)
{
	struct mm *mm = tmm(t);

	memctl_domain_leave(block);
	while (!mm_teardown(mm, 1 + rnd_to(&t->r, 100))) {
		between();
		sched_yield();
	}
	for (unsigned k = 0; k < MMC_KINDS; k++) {
		mayfly_counts[k] += mm_sum(mm, (enum mm_kind)k);
		if (k < MMN_KINDS && mayfly_counts[k])
			torture_fail("life %lu: %ld of kind %u left", (unsigned long)lives,
				     (long)mayfly_counts[k], k);
	}
	memctl_domain_done(block);
	free(block->vcpu[0]);
	t->n[S_LIVES]++;
}

void mayfly_run(struct tcpu *t)
{
	t->dom = tc.domains;
	while (torture_working()) {
		uint64_t op = atomic_fetch_add(&t->op, 1);

		between();
		sched_yield();
		if (frames_free_count() < FRAMES_MIN)
			continue;
		atomic_store(&t->doing, "birth");
		if (born(t)) {
			atomic_store(&t->doing, "life");
			live_a_life(t, op);
			wait_gp();
		}
		atomic_store(&t->doing, "teardown");
		buried(t);
	}
}
