/* SPDX-License-Identifier: MIT */
/* The scanner: what it finds and what not, how fast it is, domains that end under it. */
#include "tests/scan_sim.h"

/* ---- what it finds ---- */

Test(scan, equal_pages_get_one_frame_and_others_stay)
{
	struct scan_stats s;
	unsigned equal = 0;

	machine(CPUS);
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint64_t g = 0; g < NAMES; g++)
			put(d, g, g < 100 ? 1000 + g : g < 150 ? 0 : 5000 + d * NAMES + g);
	passes(3);
	for (uint64_t g = 0; g < NAMES; g++)
		for (unsigned d = 0; d < DOMAINS; d++) {
			struct name_view v = look(d, g), first = look(0, g);

			if (g < 100) {
				cr_expect_eq(v.state, NAME_SHARED, "name %lu of %u", (long)g, d);
				equal += v.state == NAME_SHARED && v.mfn.v == first.mfn.v;
				cr_expect(holds(d, g, 1000 + g));
			} else if (g < 150) {
				cr_expect(v.zero && holds(d, g, 0));
			} else {
				cr_expect(v.state == NAME_PRIVATE && v.settled);
				cr_expect(holds(d, g, 5000 + d * NAMES + g));
			}
		}
	s = stats();
	cr_expect_eq(equal, 100 * DOMAINS);
	cr_expect_eq(s.merged, 100 * (DOMAINS - 1));
	cr_expect_eq(s.zero, 50 * DOMAINS);
	cr_expect_eq(share_frames(), 100);
	cr_expect_eq(share_table_entries(true), 100);
	cr_expect_eq(share_table_entries(false), 50 * DOMAINS);
	/* What stayed as it was costs no second hash. */
	passes(5);
	cr_expect_eq(stats().scanned, s.scanned);
	cr_expect_gt(stats().settled, s.settled);
	cr_expect_eq(s.lost + s.full + s.changed, 0);
	counters_conserve();
	/* Every frame was somebody's, and still is his. */
	cr_expect_eq(mm_sum(&dom[0]->mm, MMN_BROUGHT) + mm_sum(&dom[1]->mm, MMN_BROUGHT) +
			     mm_sum(&dom[2]->mm, MMN_BROUGHT),
		     100);
}

/* A word that no sketch looks at. */
static uint64_t *unseen(mfn_t m)
{
	return (uint64_t *)arch_mfn_to_virt(m) + CACHE_LINE / sizeof(uint64_t);
}

Test(scan, pages_of_one_sketch_are_told_apart)
{
	machine(CPUS);
	/* 0..49 are one in all but a word; 50..99 are zero but for that word. */
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint64_t g = 0; g < NAMES; g++) {
			put(d, g, g < 50 ? 1000 + g : g < 100 ? 0 : 5000 + d * NAMES + g);
			if (g < 100)
				*unseen(mm_gfn_get_writable(&dom[d]->mm, GFN(g))) =
					g < 50 ? 10 + (d + g) % DOMAINS / 2 : 100 + g;
		}
	passes(3);
	for (uint64_t g = 0; g < 100; g++)
		for (unsigned d = 0; d < DOMAINS; d++) {
			struct name_view v = look(d, g);
			bool odd = g < 50 && (d + g) % DOMAINS == 2;

			cr_expect_eq(*unseen(v.mfn), g < 50 ? 10U + odd : 100 + g);
			cr_expect_eq(v.state, odd ? NAME_PRIVATE : NAME_SHARED, "name %lu of %u",
				     (long)g, d);
			cr_expect(v.settled == odd && !v.zero);
		}
	cr_expect_eq(stats().merged, 50 + 50 * (DOMAINS - 1));
	cr_expect_eq(share_frames(), 100);
	cr_expect_eq(share_table_entries(true), 100);
	cr_expect_eq(share_table_entries(false), 50 + 100 * DOMAINS);
	counters_conserve();
}

Test(scan, a_late_page_finds_the_hint_and_the_shared_frame)
{
	machine(CPUS);
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint64_t g = 0; g < NAMES; g++)
			put(d, g, 1 + d * NAMES + g);
	passes(2);
	cr_expect_eq(stats().merged, 0);
	put(1, 7, 1 + 5); /* as domain 0's name 5, a hint */
	passes(2);
	cr_expect_eq(look(1, 7).mfn.v, look(0, 5).mfn.v);
	put(2, 9, 1 + 5);
	passes(2);
	cr_expect_eq(look(2, 9).mfn.v, look(0, 5).mfn.v);
	cr_expect_eq(stats().merged, 2);
	/* All leave it again: nothing of it is left. */
	put(0, 5, 100000), put(1, 7, 100001), put(2, 9, 100002);
	cr_expect(holds(0, 5, 100000) && holds(1, 7, 100001) && holds(2, 9, 100002));
	cr_expect_eq(share_frames(), 0);
	cr_expect_eq(share_table_entries(true), 0);
}

/* Equal pages that follow each other in one domain do so in another. */
Test(scan, a_run_is_guessed_after_its_first_pages)
{
	struct scan_stats s;

	machine(1);
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint64_t g = 0; g < NAMES; g++)
			put(d, g, 5000 + d * NAMES + g);
	passes(2);
	cr_expect_eq(stats().guessed, 0);
	/* 20..59 of domain 0 are hints, and come again at 3..42 of domain 1; 43 is like no other. */
	for (uint64_t g = 3; g < 43; g++)
		put(1, g, 5000 + g + 17);
	passes(3);
	s = stats();
	cr_expect_eq(s.merged, 40);
	cr_expect_geq(s.guessed, 40 - 2 * 3, "only %lu were guessed", (long)s.guessed);
	/* And once more, now that they are shared; in the middle another page stands between. */
	for (uint64_t g = 100; g < 140; g++)
		put(2, g, g == 120 ? 4711 : 5000 + g - 80);
	passes(3);
	cr_expect_eq(stats().merged, 40 + 39);
	cr_expect_geq(stats().guessed, s.guessed + 39 - 2 * 4);
	for (uint64_t g = 0; g < NAMES; g++) {
		bool in1 = g >= 3 && g < 43, in2 = g >= 100 && g < 140 && g != 120;

		cr_expect(holds(0, g, 5000 + g));
		cr_expect(holds(1, g, in1 ? 5000 + g + 17 : 5000 + NAMES + g));
		cr_expect(holds(2, g,
				in2	   ? 5000 + g - 80
				: g == 120 ? 4711
					   : 5000 + 2 * NAMES + g));
		cr_expect(!in1 || look(1, g).mfn.v == look(0, g + 17).mfn.v);
		cr_expect(!in2 || look(2, g).mfn.v == look(0, g - 80).mfn.v);
	}
	cr_expect_eq(share_frames(), 40);
	cr_expect_eq(share_table_entries(true), 40, "a frame that was guessed is not in the table");
}

/* What followed a page once may be gone, or be anything by now. */
Test(scan, a_stale_guess_does_no_harm)
{
	machine(1);
	for (uint64_t g = 0; g < 64; g++) {
		put(0, g, 1000 + g);
		put(1, g, 1000 + g);
	}
	passes(3);
	for (uint64_t g = 1; g < 64; g += 2) {
		put(0, g, g % 4 == 1 ? 0 : 2000 + g);
		cr_expect_eq(mm_decrease(&dom[1]->mm, GFN(g)), 0);
	}
	for (uint64_t g = 0; g < 64; g++)
		put(2, g, 1000 + g);
	passes(20);
	for (uint64_t g = 0; g < 64; g++) {
		cr_expect(holds(2, g, 1000 + g));
		cr_expect(holds(0, g, g % 2 == 0 ? 1000 + g : g % 4 == 1 ? 0 : 2000 + g));
		cr_expect(g % 2 || look(2, g).mfn.v == look(0, g).mfn.v);
	}
	cr_expect_eq(share_table_entries(true), (uint64_t)share_frames());
}

Test(scan, what_must_not_be_shared_is_not)
{
	uint64_t pte = 2 << PAGE_SHIFT | PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D;
	mfn_t m;

	machine(CPUS);
	for (unsigned d = 0; d < DOMAINS; d++) {
		m = mm_gfn_get_writable(&dom[d]->mm, GFN(3));
		memcpy(arch_mfn_to_virt(m), &pte, sizeof(pte));
		cr_assert_eq(mm_pin(&dom[d]->mm, GFN(3), 1), 0);
		put(d, 4, 77);
		cr_assert(mfn_valid_value(mm_gfn_pin_special(&dom[d]->mm, GFN(4))));
		put(d, 5, 78);
	}
	passes(3);
	for (unsigned d = 0; d < DOMAINS; d++) {
		cr_expect_eq(look(d, 3).state, NAME_PRIVATE, "a page table was shared");
		cr_expect_eq(look(d, 4).state, NAME_PRIVATE, "a pinned page was shared");
		cr_expect_eq(look(d, 5).state, NAME_SHARED);
	}
}

/* Of a page written between any two of its visits few are guarded; at rest it is soon found. */
Test(scan, pages_that_keep_changing_are_left_alone)
{
	uint64_t before;

	machine(1);
	passes(1);
	before = stats().guarded;
	for (unsigned i = 0; i < 320; i++) {
		uint64_t at = dom[0]->scan.cursor + scan_span(NAMES);

		while (dom[0]->scan.cursor < at)
			slice();
		put(0, 11, 1 + i);
	}
	cr_expect_leq(stats().guarded - before, 320 / 16 + 8);
	cr_expect_geq(stats().guarded - before, 320 / 16 - 2, "it was forgotten");
	put(0, 11, 4711);
	put(1, 11, 4711);
	passes(18);
	cr_expect_eq(look(0, 11).state, NAME_SHARED);
	cr_expect_eq(look(0, 11).mfn.v, look(1, 11).mfn.v);
}

/* ---- how fast ---- */

static uint64_t scanned_in(uint64_t ns)
{
	uint64_t from = stats().scanned, end = arch_now_ns() + ns;

	for (uint64_t i = 0; arch_now_ns() < end; i++)
		slice();
	return stats().scanned - from;
}

Test(scan, keeps_to_its_rates)
{
	uint64_t n;

	machine(CPUS);
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint64_t g = 0; g < NAMES; g++)
			put(d, g, 1 + d * NAMES + g);
	scan_set_rate(0);
	cr_expect_eq(scanned_in(NS_PER_SEC / 10), 0);
	scan_set_rate(500);
	n = scanned_in(NS_PER_SEC / 2);
	cr_expect_leq(n, 500 / 2 + 2 * SCAN_BATCH);
	cr_expect_geq(n, 500 / 4);
	scan_set_rate(SCAN_RATE_MAX);
	for (unsigned d = 0; d < DOMAINS; d++)
		scan_set_domain_rate(&dom[d]->scan, d == 1 ? SCAN_RATE_MAX : 0);
	n = dom[0]->scan.cursor + dom[2]->scan.cursor;
	scanned_in(NS_PER_SEC / 50);
	cr_expect_eq(dom[0]->scan.cursor + dom[2]->scan.cursor, n);
	for (uint64_t g = 0; g < NAMES; g++)
		cr_expect(look(1, g).settled, "name %lu", (long)g);
}

Test(scan, settings)
{
	machine(1);
	cr_expect(scan_setting("rate", "1234"));
	cr_expect_eq(scan_rate(), 1234);
	cr_expect(scan_setting("rate", "max"));
	cr_expect_eq(scan_rate(), SCAN_RATE_MAX);
	cr_expect(scan_setting("cpu", "100"));
	cr_expect_eq(scan_cpu_percent(), 100);
	cr_expect(scan_setting("order", "sequential"));
	cr_expect_eq(scan_order(), SCAN_SEQUENTIAL);
	cr_expect_not(scan_setting("rate", ""));
	cr_expect_not(scan_setting("rate", "12x"));
	cr_expect_not(scan_setting("rate", "99999999999999999999999"));
	cr_expect_not(scan_setting("cpu", "0"));
	cr_expect_not(scan_setting("cpu", "101"));
	cr_expect_not(scan_setting("order", "upwards"));
	cr_expect_not(scan_setting("speed", "1"));
}

Test(scan, every_name_once_per_pass)
{
	static const uint64_t sizes[] = {1, 2, 3, 64, 200, 1000, 4096, 65537};
	static uint8_t seen[1 << 17];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t n = sizes[i], span = scan_span(n), moved = 0;

		cr_assert(span >= n && (span & (span - 1)) == 0);
		for (uint64_t pass = 0; pass < 3; pass++) {
			memset(seen, 0, sizeof(seen));
			for (uint64_t v = 0; v < span; v++) {
				uint64_t x = scan_place(pass * span + v, n, SCAN_RANDOM);

				cr_assert(x < span && !seen[x], "%lu of %lu", (long)x, (long)n);
				seen[x] = 1;
				moved += x != scan_place(v, n, SCAN_RANDOM);
				cr_assert_eq(scan_place(pass * span + v, n, SCAN_SEQUENTIAL), v);
			}
		}
		cr_expect(n < 1000 || moved > span, "all passes have the same order");
	}
}

/* Messages and work of its own come first. */
Test(scan, stops_for_work)
{
	static struct inbox_msg msg;
	struct pcpu *p;
	uint64_t looked;

	machine(1);
	p = this_pcpu();
	for (unsigned i = 0; i < 10; i++)
		slice();
	looked = stats().looked;
	cr_assert_gt(looked, 0);
	p->work = WORK_RESCHED;
	cr_expect_not(scan_idle(p));
	p->work = 0;
	inbox_push(&p->inbox, &msg);
	for (unsigned i = 0; i < 10; i++)
		scan_idle(p);
	cr_expect_eq(stats().looked, looked);
}

/* The end of a domain while its pages are in batches, hints and shares. */
Test(scan, domains_come_and_go)
{
	machine(1); /* a shootdown must not wait for a pCPU that this thread plays, too */
	for (unsigned d = 0; d < DOMAINS; d++)
		for (uint64_t g = 0; g < NAMES; g++)
			put(d, g, 1 + g / 2);
	for (unsigned i = 0; i < 30; i++)
		slice();
	domain_end(dom[1], END_OFF, NULL);
	for (unsigned i = 0; i < 3000; i++) {
		sim_pump(1);
		slice();
	}
	cr_expect_eq(domain_live_count(), DOMAINS - 1);
	dom[1] = dom[0]; /* for passes() */
	passes(3);
	for (uint64_t g = 0; g < NAMES; g++)
		cr_expect(holds(0, g, 1 + g / 2) && holds(2, g, 1 + g / 2));
	cr_expect_eq(share_frames(), NAMES / 2);
	domain_end(dom[0], END_OFF, NULL);
	domain_end(dom[2], END_OFF, NULL);
	for (unsigned i = 0; i < 5000 && domain_live_count(); i++) {
		sim_pump(1);
		slice();
	}
	cr_expect_eq(domain_live_count(), 0);
	cr_expect_eq(share_frames(), 0);
	cr_expect_eq(share_table_entries(true), 0);
}
