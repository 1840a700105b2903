/* SPDX-License-Identifier: MIT */
/*
 * Swapping out on behalf of the memory controller: each domain's home pCPU does its domains', in
 * slices from a timer, so that the work is spread and never holds up guests for long. The teardown
 * of a domain runs on the same pCPU.
 *
 * Storing a page takes memory before its frame comes back. So each pCPU keeps a few frames for when
 * there are none: it frees them into its own page cache just before it stores, where nobody else
 * gets at them, and takes as many back after.
 *
 * memctl_dom.swap_want: pages still to be swapped; set by pCPU 0, counted down by the home pCPU.
 * Setting it: want first, then the message unless one is on its way, whose handler clears `posted`
 * before it looks. PAIRS: memctl_pump
 */
#include "core/domain.h"
#include "memsvc/memctl_impl.h"
#include "memsvc/swap.h"
#include "percpu/pcpu.h"

#define SLICE_NS NS_PER_MS /* at a time; then guests get as long */
#define PUMP_MAX 1024u
#define RESERVE_MAX 48
#define RESERVE_PART 256 /* of the host's memory, at most, in all reserves */

static struct pump {
	struct timer timer;
	struct inbox_msg msg;
	_Atomic bool posted;
	unsigned at; /* id of the domain whose turn it is, 0: from the beginning */
	unsigned nr;
	mfn_t reserve[RESERVE_MAX];
} CACHE_ALIGNED pumps[MAX_PCPUS];

static unsigned reserve_size; /* frames of each pCPU; set at boot */
static cpumask_t wanted;      /* pCPU 0's: homes of domains with something to do */

/* Less what was done; pCPU 0 may set a new value meanwhile. */
static void done(struct domain *d, uint64_t n)
{
	uint64_t old = atomic_load(&d->memctl.swap_want);
	CAS_LOOP(loop, "pages to swap out");

	if (n)
		atomic_fetch_add(&memctl.swapped_out, n);
	while (old &&
	       !atomic_compare_exchange_weak(&d->memctl.swap_want, &old, old > n ? old - n : 0))
		retry(&loop);
}

static void reserve_fill(struct pump *p)
{
	while (p->nr < reserve_size) {
		mfn_t m = page_alloc(0);

		if (!mfn_valid_value(m))
			break;
		p->reserve[p->nr++] = m;
	}
}

/* When there is no frame, also hurries those that wait for a flush or a grace period. */
static void reserve_lend(struct pump *p)
{
	mfn_t m = page_alloc(0);

	if (mfn_valid_value(m))
		page_free(m);
	else
		while (p->nr)
			page_free(p->reserve[--p->nr]);
}

static void pump(struct timer *t, uint64_t now)
{
	struct pump *p = container_of(t, struct pump, timer);
	unsigned step = nr_pcpus(), self = this_pcpu()->id;
	unsigned first = self ? self : step;
	bool left = false;

	if (!p->at)
		p->at = first;
	reserve_lend(p);
	for (; p->at <= MAX_DOMAINS; p->at += step) {
		struct domain *d = domain_by_id((domid_t)p->at);
		uint64_t want = d ? atomic_load(&d->memctl.swap_want) : 0;

		if (!want || atomic_load(&d->state) != DOM_RUNNING)
			continue;
		left = true;
		done(d, swap_pump(&d->mm, (unsigned)MIN(want, (uint64_t)PUMP_MAX)));
		if (arch_now_ns() - now >= SLICE_NS) {
			p->at += step;
			break;
		}
	}
	reserve_fill(p);
	if (p->at > MAX_DOMAINS)
		p->at = 0;
	if (left || p->at)
		timer_arm(t, arch_now_ns() + SLICE_NS);
}

static void message(struct inbox_msg *msg)
{
	struct pump *p = container_of(msg, struct pump, msg);

	atomic_store(&p->posted, false); /* PAIRS: memctl_pump */
	if (!timer_armed(&p->timer))
		timer_arm(&p->timer, arch_now_ns());
}

void memctl_swap_init(void)
{
	uint64_t each = frames_total() / RESERVE_PART / nr_pcpus();

	reserve_size = (unsigned)MIN(each + 1, (uint64_t)RESERVE_MAX);
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		timer_init(&pumps[i].timer, pump);
		pumps[i].msg.fn = message;
		reserve_fill(&pumps[i]);
	}
}

void memctl_swap_want(struct domain *d, uint64_t pages)
{
	atomic_store(&d->memctl.swap_want, pages);
	if (pages)
		cpumask_set(&wanted, d->home_cpu);
}

void memctl_swap_go(void)
{
	unsigned cpu;

	for_each_cpu_in(cpu, &wanted) if (!atomic_exchange(&pumps[cpu].posted,
							   true)) /* PAIRS: memctl_pump */
		inbox_post(cpu, &pumps[cpu].msg);
	wanted = CPUMASK_NONE;
}

void memctl_domain_leave(struct domain *d)
{
	if (d->memctl.max)
		swap_pump_stop(&d->mm);
}
