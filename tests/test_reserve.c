/* SPDX-License-Identifier: MIT */
/*
 * No frame is free, and the hypervisor must reach a guest's memory all the same: the reserve of frames,
 * and the wait for it before a guest is entered.
 */
#include "tests/dom_sim.h"

#include "core/memory_wait.h"
#include "core/run.h"
#include "core/xen_errno.h"
#include "memsvc/memctl_impl.h"
#include "memsvc/name.h"
#include "memsvc/swap.h"

#define FRAMES 6000
#define NAMES 512

static mfn_t held[FRAMES];
static unsigned nr_held;

static struct domain *machine(unsigned cpus)
{
	struct domain_params p = {.name = "guest", .kind = "test", .vcpus = 1, .nr_pages = NAMES};
	struct domain *d;

	sim_init(cpus, FRAMES);
	cr_assert_eq(swap_init(), 0);
	cr_assert_eq(domain_create(&d, &p), 0);
	mm_promise_all(&d->mm);
	/* The records of its names but the last. */
	for (uint64_t g = 0; g < NAMES - 64; g++)
		cr_assert_eq(name_touch(&d->mm, g, false, false), 0);
	page_reserve_init();
	return d;
}

static void drain(void)
{
	for (mfn_t m; mfn_valid_value(m = page_alloc(0));)
		held[nr_held++] = m;
}

static void give(unsigned n)
{
	while (n-- && nr_held)
		page_free(held[--nr_held]);
}

/* What a guest gets is refused, what cannot wait succeeds, as often as there are frames in reserve;
 * they come back before anybody gets one. */
Test(reserve, urgent_only)
{
	struct domain *d = machine(1);
	unsigned size, low, n = 0;
	uint64_t free;

	size = atomic_load(&page_reserve_size);
	low = atomic_load(&page_reserve_low);
	cr_assert_geq(size, 32);
	cr_assert(low && low < size);
	drain();
	free = frames_free_count();
	cr_assert_eq(free, 0, "%lu frames are free", (unsigned long)free);
	cr_assert_eq(name_touch(&d->mm, 0, true, false), -XEN_ENOMEM);
	this_pcpu()->work = 0;
	while (name_touch(&d->mm, n, true, true) == 0)
		n++;
	cr_assert_eq(n, size, "%u urgent frames, of %u", n, size);
	cr_assert(this_pcpu()->work & WORK_MEMORY);
	for (unsigned i = 0; i < n; i++) {
		uint64_t *page = arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(i)));

		for (unsigned k = 0; k < 512; k++) {
			cr_assert_eq(page[k], 0, "not a zero page");
			page[k] = i; /* no two names have one frame */
		}
	}
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(((uint64_t *)arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(i))))[5], i);
	/* Fewer than it lacks: all of them are for the reserve. */
	give(low - 1);
	cr_assert_not(page_cache_refill(&this_pcpu()->pages));
	cr_assert_eq(name_touch(&d->mm, n, true, false), -XEN_ENOMEM);
	give(1);
	cr_assert(page_cache_refill(&this_pcpu()->pages));
	cr_assert_eq(name_touch(&d->mm, n, true, true), 0);
	give(size);
	cr_assert(page_cache_refill(&this_pcpu()->pages));
	cr_assert_eq(name_touch(&d->mm, n + 1, true, false), 0);
}

/* A share is broken, a page comes back from swap, and a name gets its record. */
Test(reserve, every_kind)
{
	struct domain *d = machine(1);
	struct mm *mm = &d->mm;
	struct name_view v;
	uint64_t word;

	for (uint64_t g = 0; g < 2; g++)
		memset(arch_mfn_to_virt(mm_gfn_get_writable(mm, GFN(g))), 7, PAGE_SIZE);
	for (uint64_t g = 0; g < 2; g++) {
		word = name_guard(mm, GFN(g));
		cr_assert(word && name_settle(mm, GFN(g), word));
	}
	word = name_settled_word(mm, GFN(0));
	cr_assert(name_promote(mm, GFN(0), word));
	name_look(mm, GFN(0), &v);
	cr_assert(share_get(v.mfn));
	cr_assert(name_share(mm, GFN(1), name_settled_word(mm, GFN(1)), v.mfn));
	memset(arch_mfn_to_virt(mm_gfn_get_writable(mm, GFN(2))), 9, PAGE_SIZE);
	word = name_guard(mm, GFN(2));
	cr_assert(word && name_settle(mm, GFN(2), word));
	cr_assert_eq(swap_out(mm, GFN(2), word, &word), 0);
	tlb_retire_drain();
	host_sim_rcu_drain();
	drain();
	cr_assert_eq(name_touch(mm, 1, true, false), -XEN_ENOMEM);
	cr_assert_eq(name_touch(mm, 2, false, false), -XEN_ENOMEM);
	cr_assert_eq(name_touch(mm, 1, true, true), 0);
	cr_assert_eq(name_touch(mm, 2, true, true), 0);
	for (uint64_t g = 0; g < 3; g++) {
		const char *p = arch_mfn_to_virt(mm_gfn_to_mfn(mm, GFN(g)));

		cr_assert(p[0] == (g == 2 ? 9 : 7) && p[PAGE_SIZE - 1] == p[0]);
	}
	cr_assert_eq(name_touch(mm, NAMES - 1, true, false), -XEN_ENOMEM);
	cr_assert_eq(name_touch(mm, NAMES - 1, true, true), 0);
	/* In the hypervisor's own fault everything is urgent: page tables and records too. */
	cr_assert_not(mfn_valid_value(page_alloc(0)));
	this_pcpu()->pages.urgent = true;
	cr_assert(mfn_valid_value(page_alloc(PAGE_ALLOC_ZERO)));
	this_pcpu()->pages.urgent = false;
}

/* Without a reserve the same access fails: this is what the tests above would show. */
Test(reserve, left_out)
{
	struct domain *d = machine(1);

	atomic_store(&page_reserve_size, 0);
	page_cache_drain(&this_pcpu()->pages);
	drain();
	cr_assert_eq(name_touch(&d->mm, 0, true, true), -XEN_ENOMEM);
}

static struct vcpu *running(struct domain *d)
{
	domain_start(d);
	sim_run_until(d->vcpu[0]);
	return d->vcpu[0];
}

static bool came_back;

static void comes_back(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
	came_back = true;
	give(nr_held);
}

/*
 * An exit has used up the reserve: its vCPU, to which an event is due, is not entered before frames have
 * come back. Then it is, with its event, and what is done to its memory for it succeeds.
 */
Test(reserve, waits_before_the_guest)
{
	struct domain *d = machine(1);
	struct vcpu *v = running(d);
	struct pcpu *p = this_pcpu();
	struct timer t;
	uint64_t n = 0;

	v->info->evtchn_upcall_mask = 0;
	drain();
	while (p->pages.reserve.n >= atomic_load(&page_reserve_low))
		cr_assert_eq(name_touch(&d->mm, n++, true, true), 0);
	v->info->evtchn_upcall_pending = 1;
	timer_init(&t, comes_back);
	timer_arm(&t, arch_now_ns() + 20 * NS_PER_MS);
	host_clock_virtual(false);
	timer_arm(&t, arch_now_ns() + 20 * NS_PER_MS);
	cr_assert(p->work);
	run_exit_work(p);
	cr_assert(came_back, "the guest goes on without frames for what is due to it");
	cr_assert_eq(p->current, v);
	cr_assert(vcpu_event_pending(v));
	cr_assert_eq(p->pages.reserve.n, atomic_load(&page_reserve_size));
	cr_assert_eq(atomic_load(&d->state), DOM_RUNNING);
	drain();
	cr_assert_eq(name_touch(&d->mm, n, true, true), 0);
}

/* A reserve that is short but not low stops nobody. */
Test(reserve, short_is_not_low)
{
	struct domain *d = machine(1);
	struct vcpu *v = running(d);
	struct pcpu *p = this_pcpu();

	drain();
	cr_assert_eq(name_touch(&d->mm, 0, true, true), 0);
	cr_assert(page_cache_short(&p->pages));
	run_exit_work(p);
	cr_assert_eq(p->current, v);
}

/* Nothing comes back, and everything has been tried: who has more than its share is ended first, with
 * a reason; the others have twice the time. */
Test(reserve, used_up)
{
	for (unsigned over = 0; over < 2; over++) {
		struct domain *d;
		struct pcpu *p;
		uint64_t since;

		nr_held = 0;
		d = machine(1);
		running(d);
		p = this_pcpu();
		atomic_store(&d->mm.over, over);
		drain();
		while (mfn_valid_value(page_alloc_urgent(0)))
			;
		atomic_store(&memctl.stuck, true);
		atomic_store(&memctl.ended_ns, 0);
		since = arch_now_ns();
		sim_log[0] = 0;
		while (atomic_load(&d->state) == DOM_RUNNING) {
			cr_assert_not(memory_wait_reserve(p));
			cr_assert(p->work);
			cr_assert_lt(arch_now_ns() - since, 30 * NS_PER_SEC, "it hangs");
			host_clock_advance(2 * NS_PER_MS);
			sim_exit_path(0);
			if (!p->current)
				host_clock_advance(NS_PER_MS);
		}
		since = (arch_now_ns() - since) / NS_PER_SEC;
		cr_assert_eq(since, over ? 10 : 20, "ended after %lu s", (unsigned long)since);
		cr_assert(strstr(d->reason, "out of memory: "), "%s", d->reason);
		cr_assert(strstr(sim_log, "the reserve of frames is used up"), "%s", sim_log);
	}
}
