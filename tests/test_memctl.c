/* SPDX-License-Identifier: MIT */
/*
 * The memory controller on a small simulated machine. The test plays the guests: it touches names
 * as their faults would, and a balloon that gives up what the controller asks for.
 */
#include "tests/dom_sim.h"

#include "core/hypercall.h"
#include "core/xen_errno.h"
#include "memsvc/memctl.h"
#include "memsvc/name.h"
#include "memsvc/p2m.h"
#include "memsvc/swap.h"

#include <xen/event_channel.h>

#define FRAMES 20000
#define NAMES 8192
#define STEP_NS (5 * NS_PER_MS)

struct guest {
	struct domain *d;
	bool balloon;	     /* follows its balloon target */
	uint64_t gone;	     /* names given up: the highest ones */
	uint64_t next, upto; /* touches names up to here, once */
	uint64_t busy;	     /* touches these again and again */
	unsigned rate;	     /* new names in a step */
};

static struct guest guests[8];
static unsigned nr_guests;

/* One pCPU: a thread cannot play both who waits for a shootdown and who answers. */
static void machine(uint64_t frames)
{
	sim_init(1, frames);
	cr_assert_eq(swap_init(), 0);
	memctl_start();
}

static struct guest *guest(uint64_t min, uint32_t shares, bool balloon)
{
	struct guest *g = &guests[nr_guests++];
	struct domain_params p = {.name = "guest", .kind = "test", .vcpus = 1, .nr_pages = NAMES};
	uint64_t charge;
	char why[96];

	cr_assert_eq(memctl_admit(NAMES, min, 1, &charge, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(domain_create(&g->d, &p), 0);
	memctl_domain_init(g->d, NAMES, min, shares, charge);
	mm_promise_all(&g->d->mm);
	domain_start(g->d);
	g->balloon = balloon;
	g->rate = 8;
	if (balloon) {
		evtchn_bind_virq_t bind = {.virq = VIRQ_ARCH_0};

		sim_run_until(g->d->vcpu[0]);
		cr_assert_eq(sim_hc(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq,
				    (uint64_t)&bind, 0),
			     0);
		host_become(0);
	}
	return g;
}

/* What a guest page fault does, until there is no frame. */
static bool touch(struct guest *g, uint64_t gfn)
{
	if (gfn >= NAMES - g->gone)
		return true;
	return name_touch(&g->d->mm, gfn, true, false) != -XEN_ENOMEM;
}

static void play(struct guest *g)
{
	uint64_t target = memctl_balloon_target(g->d);

	for (unsigned i = 0; g->balloon && i < 200 && g->gone != target; i++) {
		if (g->gone < target) {
			uint64_t gfn = NAMES - 1 - g->gone;

			if (mm_decrease(&g->d->mm, GFN(gfn)))
				break;
			g->gone++;
		} else {
			g->gone--;
			cr_assert_eq(mm_promise(&g->d->mm, GFN(NAMES - 1 - g->gone)), 0);
		}
	}
	for (unsigned i = 0; i < g->rate && g->next < g->upto; i++, g->next++) {
		if (touch(g, g->next))
			continue;
		memctl_kick();
		break;
	}
	for (uint64_t i = 0; i < g->busy; i++)
		if (!touch(g, i))
			break;
}

static int64_t frames(struct guest *g)
{
	return mm_sum(&g->d->mm, MMK_DATA);
}

static void run_ms(unsigned ms)
{
	for (uint64_t t = 0; t < ms * NS_PER_MS; t += STEP_NS) {
		for (unsigned i = 0; i < nr_guests; i++)
			play(&guests[i]);
		host_become(0);
		sim_pump(1);
		host_clock_advance(STEP_NS);
	}
}

static enum mem_state state(void)
{
	struct memctl_host_stats h;

	memctl_host_stats(&h);
	return h.state;
}

static void all_end(void)
{
	struct memctl_host_stats h;

	for (unsigned i = 0; i < nr_guests; i++)
		domain_end(guests[i].d, END_KILLED, "test");
	sim_wait_gone();
	memctl_host_stats(&h);
	cr_assert_eq(h.committed, 0, "%llu frames stay promised", (unsigned long long)h.committed);
}

Test(memctl, settings)
{
	struct memctl_host_stats h;

	sim_init(1, FRAMES);
	cr_assert_eq(memctl_set("mem.tax", "40"), 0);
	cr_assert_eq(memctl_set("mem.sample_ms", "1000"), 0);
	cr_assert_eq(memctl_set("mem.tax", "101"), -XEN_EINVAL);
	cr_assert_eq(memctl_set("mem.tax", ""), -XEN_EINVAL);
	cr_assert_eq(memctl_set("mem.tax", "4x"), -XEN_EINVAL);
	cr_assert_eq(memctl_set("mem.tax", "-1"), -XEN_EINVAL);
	cr_assert_eq(memctl_set("mem.period_ms", "0"), -XEN_EINVAL);
	cr_assert_eq(memctl_set("mem.taxi", "4"), -XEN_ENOENT);
	cr_assert_eq(memctl_set_tax(101), -XEN_EINVAL);
	memctl_host_stats(&h);
	cr_assert_eq(h.tax, 40);
	cr_assert_eq(h.sample_ms, 1000);
	cr_assert_eq(h.sample_pages, 100);
}

/* 6% stay free and 5% are for swapped pages: 89% less the hypervisor's own can be promised. */
Test(memctl, admission)
{
	struct memctl_host_stats h;
	uint64_t charge[4], total;
	char why[96];
	struct guest *g;

	machine(FRAMES);
	memctl_host_stats(&h);
	total = h.admissible;
	cr_assert_leq(total, frames_total() * 89 / 100);
	cr_assert_geq(total, frames_total() * 89 / 100 - (frames_total() - h.free) - 2);
	cr_assert_eq(memctl_admit(NAMES, total / 2, 1, &charge[0], why, sizeof(why)), 0);
	cr_assert_eq(charge[0], total / 2 + policy_overhead(NAMES, 1));
	cr_assert_eq(memctl_admit(NAMES, total / 2, 1, &charge[1], why, sizeof(why)), -XEN_ENOMEM);
	cr_assert(strstr(why, "not enough host memory: "), "%s", why);
	cr_assert_null(strchr(why, '\n'));
	/* A larger promise than the machine. */
	cr_assert_eq(memctl_admit(1 << 24, 1 << 24, 1, &charge[1], why, sizeof(why)), -XEN_ENOMEM);
	memctl_unadmit(charge[0]);
	memctl_host_stats(&h);
	cr_assert_eq(h.committed, 0);
	/* A domain's min can be moved within what is left, and goes back at its end. */
	g = guest(1000, 10, false);
	cr_assert_eq(memctl_set_min(g->d, NAMES + 1), -XEN_EINVAL);
	cr_assert_eq(memctl_admit(NAMES, total - 1000 - 2 * policy_overhead(NAMES, 1) - 50, 1,
				  &charge[0], why, sizeof(why)),
		     0);
	cr_assert_eq(memctl_set_min(g->d, 1051), -XEN_ENOMEM);
	cr_assert_eq(memctl_set_min(g->d, 1050), 0);
	cr_assert_eq(memctl_set_min(g->d, 100), 0);
	cr_assert_eq(memctl_set_shares(g->d, 0), -XEN_EINVAL);
	cr_assert_eq(memctl_set_shares(g->d, 77), 0);
	cr_assert_eq(memctl_set_balloon(g->d, NAMES - 99), -XEN_EINVAL);
	memctl_unadmit(charge[0]);
	all_end();
}

/* Memory is plenty: nobody is asked for anything. */
Test(memctl, plenty)
{
	struct guest *g;

	machine(FRAMES);
	g = guest(100, 10, true);
	g->upto = NAMES;
	run_ms(6000);
	cr_assert_eq(g->next, NAMES);
	cr_assert_eq(frames(g), NAMES);
	cr_assert_eq(state(), MEM_HIGH);
	cr_assert_eq(memctl_balloon_target(g->d), 0);
	all_end();
}

/* A target set by hand, up and down again, and what the view says of it. */
Test(memctl, by_hand)
{
	struct memctl_stats st;
	struct guest *g;

	machine(FRAMES);
	g = guest(1000, 10, true);
	g->upto = NAMES;
	run_ms(6000);
	cr_assert_eq(memctl_set_balloon(g->d, 3000), 0);
	run_ms(500);
	cr_assert_eq(g->gone, 3000);
	memctl_stats_of(g->d, &st);
	cr_assert(st.balloon_manual && st.balloon_driver);
	cr_assert_eq(st.ballooned, 3000);
	cr_assert_eq(st.allocated, NAMES - 3000);
	cr_assert_eq(st.balloon_target, 3000);
	cr_assert_eq(memctl_set_balloon(g->d, MEMCTL_BALLOON_AUTO), 0);
	run_ms(2000);
	cr_assert_eq(g->gone, 0);
	all_end();
}

/*
 * Three guests with balloons want 24576 pages on a machine of 20000 frames. All reach what the
 * policy says, the hosts's 6% are free again, nobody is below min, and nothing was swapped.
 */
Test(memctl, balloons)
{
	uint64_t sum = 0;

	machine(FRAMES);
	for (unsigned i = 0; i < 3; i++)
		guest(1000, 100, true)->upto = NAMES;
	run_ms(10000);
	for (unsigned i = 0; i < 3; i++)
		guests[i].busy = NAMES;
	run_ms(10000);
	for (unsigned i = 0; i < 3; i++) {
		sum += (uint64_t)frames(&guests[i]);
		cr_assert(guests[i].gone > 1000, "guest %u gave up %llu", i,
			  (unsigned long long)guests[i].gone);
		cr_assert_eq(guests[i].next, NAMES);
		cr_assert_eq(mm_sum(&guests[i].d->mm, MMN_SWAPPED), 0);
	}
	/* Equal shares: equal parts. */
	for (unsigned i = 0; i < 3; i++)
		cr_assert(llabs(frames(&guests[i]) * 3 - (int64_t)sum) < (int64_t)sum / 10,
			  "guest %u has %lld of %llu", i, (long long)frames(&guests[i]),
			  (unsigned long long)sum);
	cr_assert(state() == MEM_HIGH || state() == MEM_SOFT, "%s", mem_state_name(state()));
	cr_assert_geq(frames_free_count(), frames_total() * 39 / 1000);
	all_end();
}

/*
 * The paper's figure 7: equal shares, one guest idle, one busy; without tax they have equal parts,
 * at 75% the busy one has four times as much, or all it was promised.
 */
static void tax(unsigned percent, uint64_t idle_parts, uint64_t busy_parts)
{
	struct guest *idle, *busy;
	uint64_t sum, want;

	/* So small that no guest can have all it was promised. */
	machine(9500);
	memctl_set_tax(percent);
	memctl_set("mem.sample_ms", "200");
	idle = guest(100, 100, true);
	busy = guest(100, 100, true);
	idle->upto = busy->upto = NAMES;
	run_ms(20000);
	busy->busy = NAMES;
	run_ms(40000);
	sum = (uint64_t)(frames(idle) + frames(busy));
	want = sum * idle_parts / (idle_parts + busy_parts);
	cr_assert(llabs(frames(idle) - (int64_t)want) < (int64_t)sum / 50,
		  "the idle guest has %lld of %llu, expected %llu", (long long)frames(idle),
		  (unsigned long long)sum, (unsigned long long)want);
	cr_assert_gt(sum, 6000);
	all_end();
}

Test(memctl, no_tax)
{
	tax(0, 1, 1);
}

Test(memctl, tax_of_75)
{
	tax(75, 1, 4);
}

/* Guests that do not balloon are swapped, and all touch everything they were promised. */
Test(memctl, swaps_who_cannot_balloon)
{
	machine(FRAMES);
	for (unsigned i = 0; i < 3; i++)
		guest(500, 100, false)->upto = NAMES;
	run_ms(30000);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(guests[i].next, NAMES, "guest %u: %llu", i,
			     (unsigned long long)guests[i].next);
		cr_assert_gt(mm_sum(&guests[i].d->mm, MMN_SWAPPED), 500);
		cr_assert_geq(frames(&guests[i]), 500);
	}
	cr_assert(state() <= MEM_SOFT, "%s", mem_state_name(state()));
	all_end();
}

/* Not one frame is left: pages are swapped out all the same, and frames come back. */
Test(memctl, swaps_without_a_frame)
{
	machine(FRAMES);
	for (unsigned i = 0; i < 2; i++)
		guest(500, 100, false)->upto = NAMES;
	run_ms(6000);
	cr_assert_eq(state(), MEM_HIGH);
	while (mfn_valid_value(page_alloc(0)))
		;
	cr_assert_eq(frames_free_count(), 0);
	memctl_kick();
	run_ms(5000);
	cr_assert_gt(mm_sum(&guests[0].d->mm, MMN_SWAPPED), 300);
	cr_assert_gt(frames_free_count(), 300);
	cr_assert_not(memctl_exhausted());
	all_end();
}

/* Guests wait while memory is low, and no longer: not until the next division a second later. */
Test(memctl, waits_end_at_once)
{
	static mfn_t taken[FRAMES / 2];

	machine(FRAMES);
	memctl_set("mem.swap", "0");
	for (unsigned i = 0; i < ARRAY_SIZE(taken); i++)
		taken[i] = page_alloc(0);
	for (unsigned i = 0; i < 2; i++)
		guest(500, 100, false)->upto = NAMES * 3 / 4;
	run_ms(20000);
	/* They sleep, and ask for nothing. */
	for (unsigned i = 0; i < 2; i++)
		guests[i].rate = 0;
	run_ms(200);
	cr_assert_eq(state(), MEM_LOW);
	cr_assert(memctl_must_wait(guests[0].d) || memctl_must_wait(guests[1].d));
	for (unsigned i = 0; i < ARRAY_SIZE(taken); i++)
		page_free(taken[i]);
	run_ms(50);
	cr_assert_eq(state(), MEM_HIGH, "%s, %lu of %lu free", mem_state_name(state()),
		     (unsigned long)frames_free_count(), (unsigned long)frames_total());
	for (unsigned i = 0; i < 2; i++)
		cr_assert_not(memctl_must_wait(guests[i].d), "guest %u waits for nothing", i);
	all_end();
}

/* Nothing may be swapped, and nobody balloons: it is said, and nobody hangs or is taken below min. */
Test(memctl, used_up)
{
	struct memctl_host_stats h;

	machine(FRAMES);
	memctl_set("mem.swap", "0");
	for (unsigned i = 0; i < 3; i++) {
		guest(500, 100, false)->upto = NAMES;
	}
	run_ms(20000);
	memctl_host_stats(&h);
	cr_assert_eq(h.state, MEM_LOW);
	cr_assert(memctl_exhausted());
	/* Of those that wait, one is ended at a time. */
	cr_assert(memctl_may_end(arch_now_ns()));
	cr_assert_not(memctl_may_end(arch_now_ns() + NS_PER_SEC));
	cr_assert(memctl_may_end(arch_now_ns() + 5 * NS_PER_SEC));
	cr_assert_eq(h.exhausted, 1);
	cr_assert(strstr(sim_log, "memory is used up: "), "%s", sim_log);
	cr_assert_geq(frames_free_count(), frames_total() / 200);
	/* One leaves: the others go on. */
	guests[0].upto = 0;
	domain_end(guests[0].d, END_KILLED, "test");
	guests[0] = guests[2];
	nr_guests = 2;
	run_ms(20000);
	cr_assert_not(memctl_exhausted());
	cr_assert_not(memctl_may_end(arch_now_ns() + 100 * NS_PER_SEC));
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(guests[i].next, NAMES);
	all_end();
}
