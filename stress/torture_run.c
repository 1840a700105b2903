/* SPDX-License-Identifier: MIT */
/* The machine, the rounds, the end of each; see torture.h. */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "memsvc/memctl.h"
#include "memsvc/scan.h"
#include "torture.h"

const char *const torture_variants[V_VARIANTS] = {"none",	   "no-flush",	  "no-recheck",
						  "early-free",	   "early-alias", "no-swap-flush",
						  "no-share-flush"};
enum torture_variant torture_variant;
struct torture_config tc;
struct tcpu tcpus[T_MAX_CPUS];

const char *const stat_names[S_KINDS] = {"operations",
					 "TLB hits",
					 "walks",
					 "faults",
					 "out of memory",
					 "words written",
					 "words checked",
					 "pages checked",
					 "remaps",
					 "copies",
					 "tables",
					 "given up",
					 "populated",
					 "hypervisor writes",
					 "guarded",
					 "merged",
					 "zero",
					 "broken",
					 "broken, no flush",
					 "swapped",
					 "sampled",
					 "domains ended",
					 "policy rounds",
					 "times short",
					 "balloons told",
					 "given up as told",
					 "swapped by policy"};

static uint64_t total[S_KINDS], recycled;
static _Atomic uint64_t rounds_done, round_seed;
static _Atomic unsigned ready, working, running, loaded, waiting;

static unsigned cpus(void)
{
	return tc.mutators + tc.scanners + 2;
}

static void who(char *buf, size_t size)
{
	struct pcpu *p = this_pcpu();

	if (p && p->id < cpus())
		snprintf(buf, size, "pCPU %u, operation %lu (%s)", p->id,
			 (unsigned long)atomic_load(&tcpus[p->id].op),
			 atomic_load(&tcpus[p->id].doing));
	else
		snprintf(buf, size, "outside the pCPUs");
}

NORETURN void torture_fail(const char *fmt, ...)
{
	static _Atomic bool first;
	char text[512], where[96];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (atomic_exchange(&first, true))
		while (true)
			pause();
	who(where, sizeof(where));
	printf("WRONG: %s\n  by %s; round %lu, seed %lu, variant %s\n", text, where,
	       (unsigned long)rounds_done, (unsigned long)round_seed,
	       torture_variants[torture_variant]);
	fflush(stdout);
	_exit(TORTURE_CAUGHT);
}

/* A table with foreign bytes in it leads astray before the oracle looks. */
static void variant_faulted(int sig)
{
	static const char text[] = "WRONG: the broken variant faulted\n";

	(void)sig;
	(void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
	_exit(TORTURE_CAUGHT);
}

/* ---- a hang is told ---------------------------------------------------------------------------- */

#define HANG_SECONDS 60

static void *watch(void *arg)
{
	uint64_t before = UINT64_MAX;

	(void)arg;
	while (true) {
		uint64_t now = rounds_done;

		for (unsigned i = 0; i < cpus(); i++)
			now += atomic_load(&tcpus[i].op);
		if (now == before)
			break;
		before = now;
		sleep(HANG_SECONDS);
	}
	for (unsigned i = 0; i < cpus(); i++)
		printf("HUNG: pCPU %u, operation %lu (%s); seed %lu\n", i,
		       (unsigned long)atomic_load(&tcpus[i].op), atomic_load(&tcpus[i].doing),
		       (unsigned long)round_seed);
	fflush(stdout);
	_exit(TORTURE_HUNG);
}

/* ---- set-up ------------------------------------------------------------------------------------ */

static uint64_t counted, free_at_start;

static _Atomic uint64_t *table(struct mm *mm, uint64_t g)
{
	return arch_mfn_to_virt(mm_gfn_to_mfn(mm, GFN(g)));
}

bool torture_tables(struct mm *mm)
{
	_Atomic uint64_t *dm;

	mm_promise_all(mm);
	if (mm_populate(mm, GFN(1), N_FIRST_DATA) != N_FIRST_DATA)
		return false;
	table(mm, N_L4)[0] = table(mm, N_L4B)[0] = (uint64_t)N_L3 << PAGE_SHIFT | P_TABLE;
	table(mm, N_L3)[0] = (uint64_t)N_L2 << PAGE_SHIFT | P_TABLE;
	for (unsigned i = 0; i < 4; i++)
		table(mm, N_L2)[i] = (uint64_t)(N_DM + i) << PAGE_SHIFT | P_TABLE;
	dm = table(mm, N_DM);
	for (uint64_t g = 1; g < T_NAMES; g++)
		dm[g] = g << PAGE_SHIFT | (g < N_FIRST_DATA ? P_RO_A : P_RW_AD);
	return true;
}

struct vcpu *torture_vcpu(struct domain *d, unsigned k)
{
	struct vcpu *v = aligned_alloc(CACHE_LINE, ROUND_UP(sizeof(*v), CACHE_LINE));

	memset(v, 0, sizeof(*v));
	v->id = k;
	v->domain = d;
	arch_vcpu_init(v);
	d->vcpu[k] = v;
	return v;
}

bool torture_working(void)
{
	return atomic_load(&working);
}

static void domain_make(unsigned i)
{
	struct domain *d = aligned_alloc(CACHE_LINE, ROUND_UP(sizeof(*d), CACHE_LINE));
	struct rnd r = {mix(tc.seed ^ mix(i + 1)) | 1};

	memset(d, 0, sizeof(*d));
	memset(&odoms[i], 0, sizeof(odoms[i]));
	odoms[i].d = d;
	d->id = (domid_t)(i + 1);
	d->max_vcpus = tc.mutators;
	for (unsigned k = 0; k < tc.mutators; k++)
		torture_vcpu(d, k);
	if (mm_init(&d->mm, d->id, T_NAMES, NULL, 0) || !torture_tables(&d->mm) ||
	    !policy_domain(d, &r, i % 3 == 0))
		torture_fail("no memory for domain %u", i);
}

static void machine_make(void)
{
	struct mem_range r;

	host_rcu_select(HOST_RCU_QSBR);
	host_arena_init(tc.frames);
	r = (struct mem_range){HOST_FIRST_MFN << PAGE_SHIFT, tc.frames << PAGE_SHIFT};
	host_this_pcpu = NULL;
	if (frames_init(&r, 1))
		torture_fail("no memory for the frame table");
	mmu_init();
	host_sim_init(cpus()); /* for the set-up */
	host_clock_virtual(false);
	if (scan_init())
		torture_fail("no memory for the scanner");
	scan_set_rate(SCAN_RATE_MAX);
	scan_set_cpu_percent(100);
	torture_swap_init();
	policy_machine();
	free_at_start = frames_free_count();
	for (unsigned i = 0; i < tc.domains; i++)
		domain_make(i);
	page_cache_drain(&this_pcpu()->pages);
	/* The pCPU of the set-up is forgotten now, with what it had counted. */
	counted = atomic_load(&this_pcpu()->pages.allocs) - atomic_load(&this_pcpu()->pages.frees);
}

/* ---- the pCPUs --------------------------------------------------------------------------------- */

/* Wait until all have come here, serving them meanwhile. */
static void gather(_Atomic unsigned *left)
{
	atomic_fetch_sub(left, 1);
	while (atomic_load(left)) {
		between();
		sched_yield();
	}
}

static void mutate(struct tcpu *t)
{
	guest_begin(t);
	gather(&ready);
	for (uint64_t i = 0; i < tc.ops; i++) {
		guest_op(t);
		between();
	}
	guest_end(t);
	atomic_fetch_sub(&working, 1);
}

static void scan(struct tcpu *t)
{
	gather(&ready);
	while (atomic_load(&working)) {
		uint64_t op = atomic_load(&t->op) + 1;

		atomic_store(&t->op, op);
		t->r.s = mix(tc.seed ^ mix(t->id << 20 | 3) ^ op) | 1;
		if (t->id % 2)
			scan_idle(this_pcpu());
		else
			scan_step(t, &t->r);
		hyp_check(t);
		between();
		sched_yield();
	}
}

static void pcpu_main(void *arg)
{
	struct tcpu *t = &tcpus[this_pcpu()->id];

	(void)arg;
	if (HOST_CATCH_PANIC())
		torture_fail("panic: %s", host_panic_text);
	t->id = this_pcpu()->id;
	atomic_store(&t->doing, "scan");
	scan_begin(t);
	policy_start(t);
	if (t->id < tc.mutators) {
		mutate(t);
	} else if (t->id < tc.mutators + tc.scanners) {
		scan(t);
	} else {
		gather(&ready);
		(t->id == tc.mutators + tc.scanners ? mayfly_run : policy_run)(t);
	}
	/* Others may still wait for this pCPU, and what they serve here may make them begin to. That
	 * ends when none has anything loaded: who began before is served in the last gathering. */
	scan_end(t);
	gather(&running);
	policy_tick_stop(t);
	arch_context_switch(this_pcpu()->current, NULL);
	mmu_flush_all(t);
	gather(&loaded);
	policy_swap_stop(t);
	gather(&waiting);
}

/* ---- the end of a round ------------------------------------------------------------------------ */

static void play_all(void)
{
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		host_become(i);
		between();
	}
	host_sim_rcu_drain();
	host_become(0);
}

static void teardown(struct domain *d)
{
	struct mm_stats st;

	for (unsigned tries = 0; !mm_teardown(&d->mm, 100); tries++) {
		play_all();
		if (tries > 10000)
			torture_fail("the teardown of domain %u does not end", d->id);
	}
	mm_stats(&d->mm, &st);
	for (unsigned k = 0; k < MMN_KINDS; k++)
		if (st.frames[k])
			torture_fail("domain %u: %ld of kind %u left", d->id, (long)st.frames[k],
				     k);
	memctl_domain_done(d);
	for (unsigned i = 0; i < d->max_vcpus; i++)
		free(d->vcpu[i]);
	free(d);
}

static void count_recycled(void)
{
	for (uint64_t i = 0; i < tc.frames; i++) {
		struct page_info *pi = page_of(MFN(HOST_FIRST_MFN + i));
		uint64_t gen = atomic_load(&pi->state) >> 24;

		/* The frame table itself is at the end of the arena. */
		if ((uint8_t *)arch_mfn_to_virt(MFN(HOST_FIRST_MFN + i)) >=
		    (uint8_t *)page_of(MFN(HOST_FIRST_MFN)))
			break;
		recycled += gen;
	}
}

static void finish(void)
{
	struct scan_stats ss;

	if (HOST_CATCH_PANIC())
		torture_fail("panic at rest: %s", host_panic_text);
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		host_become(i);
		rcu_thread_online();
	}
	host_become(0);
	atomic_store(&memory_tight, false);
	atomic_store(&memory_short, false);
	play_all();
	rest_check();
	for (unsigned i = 0; i < tc.domains; i++)
		teardown(odoms[i].d);
	play_all();
	atomic_store(&page_reserve_size, 0);
	for (unsigned i = 0; i < nr_pcpus(); i++)
		page_cache_drain(&pcpu_get(i)->pages);
	if (frames_free_count() - counted != free_at_start)
		torture_fail("%ld frames lost",
			     (long)(free_at_start - (frames_free_count() - counted)));
	policy_rest_check();
	count_recycled();
	for (unsigned i = 0; i < cpus(); i++)
		for (unsigned k = 0; k < S_KINDS; k++)
			total[k] += tcpus[i].n[k];
	scan_stats(&ss);
	total[S_GUARDED] += ss.guarded;
	total[S_MERGED] += ss.merged;
	total[S_ZEROED] += ss.zero;
	total[S_BROKEN] += share_breaks();
	total[S_QUIET] += share_breaks_quiet();
	host_panic_armed = false;
}

static void round_run(void)
{
	round_seed = tc.seed;
	for (unsigned i = 0; i < cpus(); i++) {
		atomic_store(&tcpus[i].op, 0); /* the watcher may be reading it */
		tcpus[i].unique = 0;
		memset(tcpus[i].tab, 0, sizeof(tcpus[i].tab));
		memset(tcpus[i].n, 0, sizeof(tcpus[i].n));
	}
	machine_make();
	mayfly_begin();
	atomic_store(&ready, cpus());
	atomic_store(&running, cpus());
	atomic_store(&loaded, cpus());
	atomic_store(&waiting, cpus());
	atomic_store(&working, tc.mutators);
	host_threads_start(cpus(), pcpu_main, NULL);
	host_threads_join();
	finish();
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The intact core goes through all kinds of rounds, a broken one where its fault shows. */
static void settle_round(uint64_t kind)
{
	switch (torture_variant) {
	case V_NONE:
		tc.calm = kind == 3 || kind == 7;
		tc.slow = kind == 1 || kind == 5 || kind == 7;
		break;
	case V_NO_FLUSH:
		tc.calm = true;
		break;
	case V_EARLY_ALIAS:
	case V_NO_SWAP_FLUSH:
	case V_NO_SHARE_FLUSH:
		tc.calm = tc.slow = true;
		break;
	default:
		tc.slow = true;
		break;
	}
}

#define SURELY 300 /* policy rounds, in which each of its means is used */

/* A controller that is never pressed would prove nothing. */
static void policy_did_something(void)
{
	for (unsigned k = S_DIVIDED; k <= S_ORDERED; k++)
		if (!total[k] && (k == S_DIVIDED || total[S_DIVIDED] > SURELY))
			torture_fail("the memory controller did nothing: %s: none", stat_names[k]);
}

int torture_run(void)
{
	uint64_t seed = tc.seed;
	double end = now() + tc.seconds;
	uint64_t pressed = 0; /* rounds with the memory controller */
	pthread_t watcher;

	if (pthread_create(&watcher, NULL, watch, NULL) || pthread_detach(watcher))
		torture_fail("no thread to watch the run");
	if (torture_variant != V_NONE)
		signal(SIGSEGV, variant_faulted);
	while (tc.rounds ? rounds_done < tc.rounds : now() < end) {
		tc.seed = seed + rounds_done;
		settle_round(tc.seed % 8);
		round_run();
		if (!tc.calm)
			pressed++;
		rounds_done++;
	}
	if (torture_variant == V_NONE && pressed)
		policy_did_something();
	return 0;
}

void torture_print(void)
{
	printf("%lu rounds, every frame used %lu times on average\n", (unsigned long)rounds_done,
	       (unsigned long)(recycled / tc.frames));
	for (unsigned k = 0; k < S_KINDS; k++)
		printf("  %-18s %12lu\n", stat_names[k], (unsigned long)total[k]);
}
