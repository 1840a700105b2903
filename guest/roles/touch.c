/* SPDX-License-Identifier: MIT */
/*
 * An active set of known size. Holds `hold` MiB (default: the largest phase)
 * and touches the first so many of them that the phase says, all of them `hz`
 * times a second: phases=64:20/16:20/0:10 is 64 MiB for 20 s, 16 MiB for 20 s,
 * nothing for 10 s, `repeat` times. What it really touched is printed with the
 * guest's system time, every `every_ms`, to be held against an estimate from
 * outside. Follows the balloon.
 */
#include "roles/roles.h"
#include "roles/set.h"
#include "rt/balloon.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"

#define MAX_PHASES 64
#define MIB_PAGES 256UL
#define SLICE_NS 20000000ULL
#define NS 1000000000ULL

static struct phase {
	unsigned long pages;
	uint64_t ns;
} phases[MAX_PHASES];
static unsigned int nr_phases;

static struct {
	unsigned long hold, writes, hz, next, in_interval, slow;
	uint64_t every, report_at;
} t;

static uint64_t number(const char **s)
{
	uint64_t v = 0;

	CHECK(**s >= '0' && **s <= '9', "phases= is not MIB:SECS/MIB:SECS/...");
	for (; **s >= '0' && **s <= '9'; (*s)++)
		v = v * 10 + (uint64_t)(**s - '0');
	return v;
}

static void parse_phases(const char *s)
{
	for (;; s++) {
		struct phase *p = &phases[nr_phases++];

		CHECK(nr_phases <= MAX_PHASES, "more than %u phases", MAX_PHASES);
		p->pages = number(&s) * MIB_PAGES;
		CHECK(*s++ == ':', "phases= is not MIB:SECS/MIB:SECS/...");
		p->ns = number(&s) * NS;
		if (!*s)
			return;
		CHECK(*s == '/', "phases= is not MIB:SECS/MIB:SECS/...");
	}
}

static unsigned long active(const struct phase *p)
{
	return p->pages < set_size() ? p->pages : set_size();
}

static void report(const struct phase *p, uint64_t now)
{
	unsigned long pages = active(p);

	if (now < t.report_at)
		return;
	/* Pages are touched in turn: fewer touches than pages are as many pages. */
	printf("mini: touch t_ms=%lu active_pages=%lu touched_pages=%lu held_pages=%lu "
	       "ballooned_pages=%lu\n",
	       now / 1000000, pages, t.in_interval < pages ? t.in_interval : pages, set_size(),
	       balloon_pages());
	t.in_interval = 0;
	t.report_at = now + t.every;
}

static void touch_some(const struct phase *p, unsigned long n)
{
	for (; n && active(p); n--, t.in_interval++, t.next++) {
		if (t.next >= active(p))
			t.next = 0;
		set_touch(t.next, mix64(t.next + t.in_interval) % 100 < t.writes);
	}
}

static void run(const struct phase *p)
{
	uint64_t start = time_ns(), now = start, last = start;

	t.next = 0;
	while (now - start < p->ns) {
		uint64_t due = active(p) * t.hz * (now - last) / NS;

		/* After a long stop the rate is not made up for by a burst. */
		if (due > active(p)) {
			due = active(p);
			t.slow++;
		}
		if (due)
			last = now;
		touch_some(p, due);
		set_follow(t.hold);
		report(p, time_ns());
		sleep_until(now + SLICE_NS);
		now = time_ns();
	}
}

void role_touch(void)
{
	uint64_t seed = rnd_init(), repeat = arg_num("repeat", 1);
	unsigned long most = 0, out, in;

	parse_phases(arg_str("phases", "4:2/1:2/0:1"));
	for (unsigned int i = 0; i < nr_phases; i++)
		most = phases[i].pages > most ? phases[i].pages : most;
	t.hold = arg_num("hold", most / MIB_PAGES) * MIB_PAGES;
	t.writes = arg_num("writes", 50);
	t.hz = arg_num("hz", 4);
	t.every = arg_num("every_ms", 1000) * 1000000;
	set_init(t.hold, seed);
	printf("mini: touch ready t_ms=%lu held_pages=%lu\n", time_ns() / 1000000, set_size());
	while (repeat--)
		for (unsigned int i = 0; i < nr_phases; i++)
			run(&phases[i]);
	for (unsigned long i = 0; i < set_size(); i++)
		set_verify(i);
	balloon_totals(&out, &in);
	role_pass("seed=%lu held_pages=%lu slow=%lu ballooned_out=%lu ballooned_in=%lu", seed,
		  set_size(), t.slow, out, in);
}
