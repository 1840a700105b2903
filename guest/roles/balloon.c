/* SPDX-License-Identifier: MIT */
/*
 * The balloon by the guest's own wish: `rounds` random targets, while pages
 * that are held are checked and pages that come back are used again.
 */
#include "roles/roles.h"
#include "roles/set.h"
#include "rt/balloon.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"

static long current_pages(void)
{
	domid_t self = DOMID_SELF;

	return hc_memory(XENMEM_current_reservation, &self);
}

void role_balloon(void)
{
	unsigned long rounds = arg_num("rounds", 40), hold, most, out, in;
	uint64_t seed = rnd_init();

	hold = pages_left() / 4;
	set_init(hold, seed);
	most = pages_left() - 2 * BALLOON_RESERVE;
	for (unsigned long r = 0; r < rounds; r++) {
		unsigned long want = rnd() % most;
		void **page = page_alloc();
		unsigned int n = 0;

		balloon_ask(want);
		CHECK_EQ(balloon_pages(), want, "pages in the balloon");
		CHECK_EQ(balloon_deficit(), 0, "deficit");
		for (; n < 200 && (page[n] = page_try_alloc(BALLOON_RESERVE)); n++)
			memset(page[n], (int)n, PAGE_SIZE);
		for (unsigned int i = 0; i < n; i++) {
			CHECK_EQ(((uint8_t *)page[i])[rnd() % PAGE_SIZE], i, "a page in use");
			page_free(page[i]);
		}
		page_free(page);
		for (unsigned long i = 0; i < set_size(); i++)
			set_touch(i, rnd() & 1);
	}
	/* More than is free: what the set can do without goes, too. */
	balloon_ask(most + hold / 2);
	CHECK(balloon_deficit(), "the balloon found more than was free");
	while (balloon_deficit())
		set_follow(0);
	CHECK(set_size() && set_size() < hold, "%lu of %lu pages held", set_size(), hold);
	/* The allocator comes first: an empty machine makes the balloon give back. */
	for (unsigned long i = 0; i < 4 * BALLOON_RESERVE; i++)
		*(volatile uint64_t *)page_alloc() = i;
	CHECK(balloon_pages() < most + hold / 2, "the balloon gave nothing back");
	balloon_ask(0);
	CHECK_EQ(balloon_pages(), 0, "pages in an empty balloon");
	for (unsigned long i = 0; i < set_size(); i++)
		set_verify(i);
	balloon_totals(&out, &in);
	CHECK_EQ(out, in, "pages out and in");
	role_pass("seed=%lu rounds=%lu ballooned_out=%lu ballooned_in=%lu reservation=%ld", seed,
		  rounds, out, in, current_pages());
}
