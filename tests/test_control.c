/* SPDX-License-Identifier: MIT */
/* The control stream, Xylem's own hypercall and the memory records. */
#include "tests/dom_sim.h"

#include "core/control.h"
#include "core/mem_stats.h"
#include "memsvc/memctl.h"
#include "memsvc/scan.h"
#include "tests/seed.h"

#define PAGES 64

static struct domain *d;
static unsigned quits;

static void on_quit(void)
{
	quits++;
	mem_stats_freeze();
}

static void setup(void)
{
	sim_init(2, 16384);
	d = sim_domain(1);
	memctl_domain_init(d, PAGES, 8, 80, 8);
}

static const char *answer(const char *line)
{
	static char out[600];
	char copy[300];

	snprintf(copy, sizeof(copy), "%s", line);
	control_line(copy, out, sizeof(out));
	return out;
}

static void accepted(const char *line)
{
	cr_assert_not_null(strstr(answer(line), "\"ok\":true"), "%s: %s", line, answer(line));
}

static void refused(const char *line, const char *named)
{
	const char *text = answer(line);

	cr_assert_not_null(strstr(text, "\"ok\":false"), "%s: %s", line, text);
	cr_assert_not_null(strstr(text, named), "%s: %s", line, text);
}

Test(control, settings_change)
{
	struct memctl_host_stats h;
	struct memctl_stats s;

	setup();
	accepted("1 tax 33");
	accepted("2 shares guest 77");
	accepted("3 balloon guest 12");
	memctl_host_stats(&h);
	memctl_stats_of(d, &s);
	cr_assert_eq(h.tax, 33);
	cr_assert_eq(s.shares, 77);
	cr_assert(s.balloon_manual);
	accepted("4 balloon guest auto");
	memctl_stats_of(d, &s);
	cr_assert(!s.balloon_manual);
	accepted("5 set mem.tax 44");
	memctl_host_stats(&h);
	cr_assert_eq(h.tax, 44);
	accepted("6 mem-period 0");
	accepted("7 scan-rate 1234");
	cr_assert_eq(scan_rate(), 1234);
	accepted("8 scan-rate guest 55");
	cr_assert_eq(scan_domain_rate(&d->scan), 55);
	accepted("9 set share.cpu 12");
	cr_assert_eq(scan_cpu_percent(), 12);
	cr_assert_str_eq(answer("123 tax 5"), "{\"ev\":\"ctl\",\"id\":123,\"ok\":true}");
}

Test(control, says_a_line_at_a_console)
{
	const char *const typed = "hello\nx\n";

	setup();
	accepted("1 say guest hello");
	accepted("2 say guest x");
	cr_assert_eq(atomic_load(&d->con.io_prod), strlen(typed));
	cr_assert_eq(memcmp(d->con.io_in, typed, strlen(typed)), 0);
	refused("3 say guest", "NAME WORD");
	refused("4 say nobody x", "'nobody'");
	for (unsigned i = 0; i < CONSOLE_INPUT / 8; i++)
		answer("5 say guest 1234567");
	refused("6 say guest y", "no room");
}

Test(control, refusals_name_the_word)
{
	setup();
	refused("1", "missing");
	refused("x tax 1", "'x'");
	refused("", "not an id");
	refused("1 frob 2", "'frob'");
	refused("1 tax", "tax: wrong number");
	refused("1 tax 1 2", "tax: wrong number");
	refused("1 tax 101", "'101' is out of range");
	refused("1 tax 4x", "'4x' is not a number");
	refused("1 tax 99999999999999999999999", "not a number");
	refused("1 shares guest 0", "'0' is out of range");
	refused("1 shares nobody 5", "'nobody'");
	refused("1 balloon guest 57", "'57' is out of range"); /* its minimum is 8 of 64 */
	refused("1 set mem.tax", "KEY VALUE");
	refused("1 set mem.nothing 1", "'mem.nothing' is not known");
	refused("1 set share.cpu 101", "'101'");
	refused("1 scan-rate guest 1000000001", "out of range");
	refused("1 scan-rate", "wrong number");
	refused("1 set mem.tax abc", "'abc' is out of range");
	refused("1 \"\\ 2", "unknown command '\\\"\\\\'");
}

/* Whatever comes in, the answer is one line of JSON with the id, and settings stay in range. */
Test(control, garbage)
{
	static const char *const pieces[] = {"tax",	   "shares",
					     "balloon",	   "min",
					     "scan-rate",  "set",
					     "mem-period", "guest",
					     "auto",	   "1",
					     "0",	   "-1",
					     "101",	   "\"",
					     "\\",	   "\x01\x7f",
					     "mem.tax",	   "share.",
					     "share.cpu",  "%s%n",
					     "4294967296", "18446744073709551616",
					     "",	   "ctl"};
	struct memctl_host_stats h;

	srand((unsigned)seed_from_env());
	setup();
	for (unsigned i = 0; i < 20000; i++) {
		char line[300] = "7";
		const char *text;
		unsigned words = (unsigned)rand() % 7;
		bool escaped = false;
		size_t quotes = 0;

		for (unsigned w = 0; w < words; w++) {
			strcat(line, " ");
			strcat(line, pieces[(unsigned)rand() % ARRAY_SIZE(pieces)]);
		}
		text = answer(line);
		cr_assert_eq(strncmp(text, "{\"ev\":\"ctl\",\"id\":7,\"ok\":", 24), 0, "%s", text);
		cr_assert_eq(text[strlen(text) - 1], '}', "%s", text);
		for (const char *p = text; *p; p++) {
			cr_assert(*p >= ' ' && *p <= '~', "%s", text);
			quotes += *p == '"' && !escaped;
			escaped = *p == '\\' && !escaped;
		}
		cr_assert_eq(quotes % 2, 0, "%s", text);
	}
	memctl_host_stats(&h);
	cr_assert_leq(h.tax, 100);
	cr_assert_leq(scan_cpu_percent(), 100);
}

Test(control, lines_come_in_pieces)
{
	static char text[400];

	setup();
	quits = 0;
	control_start(on_quit);
	host_console_input(1, "noise\r\nctl 7 tax");
	sim_pump(6000);
	host_console_input(1, " 12\nctl 8 tax 200\n");
	sim_pump(12000);
	log_flush();
	cr_assert_not_null(strstr(sim_records, "{\"ev\":\"ctl\",\"id\":7,\"ok\":true}"));
	cr_assert_not_null(strstr(sim_records, "{\"ev\":\"ctl\",\"id\":8,\"ok\":false,"));
	cr_assert_eq(quits, 0);
	/* A line that is too long is dropped whole. */
	memset(text, 'q', 300);
	strcpy(text + 300, "\nqq\nq\n");
	host_console_input(1, text);
	sim_pump(12000);
	cr_assert_eq(quits, 1);
	/* Or refused, when it says who asks. */
	strcpy(text, "ctl 9 ");
	memset(text + 6, 'q', 294);
	strcpy(text + 300, "\nctl 10 tax 5\n");
	host_console_input(1, text);
	sim_pump(20000);
	log_flush();
	cr_assert_not_null(strstr(sim_records, "\"id\":9,\"ok\":false,\"error\":\"the line is too "
					       "long\"}"));
	cr_assert_not_null(strstr(sim_records, "{\"ev\":\"ctl\",\"id\":10,\"ok\":true}"));
	cr_assert_eq(quits, 1);
}

/* ---- the hypercall ---- */

static long hc(unsigned cmd, void *arg)
{
	return sim_hc(__HYPERVISOR_arch_7, cmd, (uint64_t)arg, 0);
}

Test(hc_xylem, reads_its_own_memory)
{
	struct xylem_memory m = {.size = sizeof(m), .domid = DOMID_SELF};

	setup();
	cr_assert_eq(hc(XYLEM_OP_version, NULL), XYLEM_ABI_VERSION);
	cr_assert_eq(hc(XYLEM_OP_memory, &m), 0);
	cr_assert_eq(m.size, sizeof(m));
	cr_assert_eq(m.domid, d->id);
	cr_assert_eq(m.given, PAGES);
	cr_assert_eq(m.allocated, PAGES);
	cr_assert_eq(m.touched, PAGES);
	cr_assert_eq(m.shared + m.zero + m.swapped + m.ballooned, 0);
	cr_assert_eq(m.shares, 80);
	cr_assert_eq(m.min, 8);
	cr_assert_gt(m.overhead, 0);
	cr_assert_eq(mm_decrease(&d->mm, GFN(5)), 0);
	m = (struct xylem_memory){.size = sizeof(m), .domid = d->id};
	cr_assert_eq(hc(XYLEM_OP_memory, &m), 0);
	cr_assert_eq(m.allocated, PAGES - 1);
	cr_assert_eq(m.ballooned, 1);
}

/* A guest built against an older, smaller structure gets no more than it has room for. */
Test(hc_xylem, fills_in_no_more_than_asked)
{
	struct {
		struct xylem_memory m;
		uint64_t behind;
	} s = {.m = {.size = 24, .domid = DOMID_SELF, .min = 0x1234}};

	setup();
	cr_assert_eq(hc(XYLEM_OP_memory, &s), 0);
	cr_assert_eq(s.m.size, 24);
	cr_assert_eq(s.m.given, PAGES);
	cr_assert_eq(s.m.min, 0x1234);
	s.m.size = sizeof(s);
	s.behind = 77;
	s.m.domid = DOMID_SELF;
	cr_assert_eq(hc(XYLEM_OP_memory, &s), 0);
	cr_assert_eq(s.m.size, sizeof(s.m));
	cr_assert_eq(s.behind, 77);
}

Test(hc_xylem, refusals)
{
	struct xylem_memory m = {.size = sizeof(m), .domid = 7};
	struct xylem_control c = {.what = XYLEM_SET_tax, .value = 1};
	struct memctl_host_stats before, after;

	setup();
	cr_assert_eq(hc(XYLEM_OP_memory, &m), -XEN_EPERM);
	m = (struct xylem_memory){.size = 7, .domid = DOMID_SELF};
	cr_assert_eq(hc(XYLEM_OP_memory, &m), -XEN_EINVAL);
	cr_assert_eq(hc(77, &m), -XEN_ENOSYS);
	memctl_host_stats(&before);
	cr_assert_eq(hc(XYLEM_OP_control, &c), -XEN_EPERM);
	memctl_host_stats(&after);
	cr_assert_eq(after.tax, before.tax);
}

Test(hc_xylem, a_domain_in_control)
{
	struct domain_params p = {.name = "other", .kind = "test", .vcpus = 1, .nr_pages = 32};
	struct xylem_memory m = {.size = sizeof(m)};
	struct xylem_control c = {.what = XYLEM_SET_shares, .value = 31};
	struct memctl_stats s;
	struct domain *other;

	setup();
	cr_assert_eq(domain_create(&other, &p), 0);
	memctl_domain_init(other, 32, 8, 80, 8);
	domain_start(other);
	sim_run_until(d->vcpu[0]);
	m.domid = c.domid = other->id;
	cr_assert_eq(hc(XYLEM_OP_memory, &m), -XEN_EPERM);
	cr_assert_eq(hc(XYLEM_OP_control, &c), -XEN_EPERM);
	d->control = true;
	cr_assert_eq(hc(XYLEM_OP_control, &c), 0);
	memctl_stats_of(other, &s);
	cr_assert_eq(s.shares, 31);
	memctl_stats_of(d, &s);
	cr_assert_eq(s.shares, 80);
	cr_assert_eq(hc(XYLEM_OP_memory, &m), 0);
	cr_assert_eq(m.domid, other->id);
	cr_assert_eq(m.given, 32);
	c.domid = DOMID_SELF;
	cr_assert_eq(hc(XYLEM_OP_control, &c), 0);
	memctl_stats_of(d, &s);
	cr_assert_eq(s.shares, 31);
	for (uint32_t what = 0; what < 10; what++) {
		c = (struct xylem_control){.what = what, .domid = 999, .value = 10};
		cr_assert_eq(hc(XYLEM_OP_control, &c),
			     what <= XYLEM_SET_scan_rate   ? -XEN_ESRCH
			     : what <= XYLEM_SET_record_ms ? 0
							   : -XEN_EINVAL,
			     "setting %u", what);
	}
	m.size = sizeof(m);
	m.domid = 0x10001; /* does not wrap to domain 1 */
	cr_assert_eq(hc(XYLEM_OP_memory, &m), -XEN_ESRCH);
}

Test(hc_xylem, tells_the_balloon_target)
{
	setup();
	cr_assert_eq(hc(XYLEM_OP_balloon, NULL), 0);
	atomic_store(&d->memctl.balloon_target, 12);
	cr_assert_eq(hc(XYLEM_OP_balloon, NULL), 12);
}

/* ---- records ---- */

static unsigned records(const char *part)
{
	unsigned n = 0;

	log_flush();
	for (const char *p = sim_records; (p = strstr(p, part)); p++)
		n++;
	return n;
}

Test(mem_stats, samples_and_the_last_word)
{
	char want[200];

	setup();
	mem_stats_start();
	sim_pump((unsigned)(3 * NS_PER_SEC / SIM_STEP_NS) + 1000);
	cr_assert_eq(records("\"total\":{"), 3);
	cr_assert_eq(records("\"dom\":[[\"guest\",64,64,64,"), 3);
	cr_assert_eq(mm_decrease(&d->mm, GFN(9)), 0);
	mem_stats_freeze();
	cr_assert_eq(records("\"dom\":[[\"guest\",64,63,63,"), 1);
	mem_stats_end();
	snprintf(want, sizeof(want),
		 "\"given_pages\":64,\"touched_pages\":63,\"frames_total\":%lu,", frames_total());
	cr_assert_eq(records(want), 1);
	cr_assert_eq(records("\"ballooned_pages\":1}"), 1);
	/* Frozen: no more samples. */
	sim_pump((unsigned)(2 * NS_PER_SEC / SIM_STEP_NS));
	cr_assert_eq(records("\"total\":{"), 4);
}

/* The last word is about the time when most memory was given, not about who is left. */
Test(mem_stats, guests_that_end_early_count)
{
	struct domain_params p = {.name = "small", .kind = "test", .vcpus = 1, .nr_pages = 4};
	struct domain *small;

	setup();
	cr_assert_eq(domain_create(&small, &p), 0);
	domain_start(small);
	mem_stats_start();
	sim_pump((unsigned)(NS_PER_SEC / SIM_STEP_NS) + 1000);
	domain_end(small, END_OFF, NULL);
	sim_pump((unsigned)(NS_PER_SEC / SIM_STEP_NS));
	cr_assert_eq(records("\"given\":68,"), 1);
	cr_assert_eq(records("\"given\":64,"), 1);
	domain_end(d, END_OFF, NULL);
	sim_pump((unsigned)(2 * NS_PER_SEC / SIM_STEP_NS));
	cr_assert_geq(records("\"given\":0,"), 1);
	mem_stats_end();
	cr_assert_eq(records("\"given_pages\":64,"), 1);
}

Test(mem_stats, no_records_when_switched_off)
{
	setup();
	cr_assert_eq(mem_stats_set_period(3600001), -XEN_EINVAL);
	cr_assert_eq(mem_stats_set_period(0), 0);
	mem_stats_start();
	sim_pump((unsigned)(2 * NS_PER_SEC / SIM_STEP_NS));
	mem_stats_end();
	cr_assert_eq(records("\"ev\":\"mem"), 0);
	cr_assert_eq(mem_stats_set_period(100), 0);
	sim_pump((unsigned)(2 * NS_PER_SEC / SIM_STEP_NS));
	cr_assert_geq(records("\"total\":{"), 9);
}

/* Many domains: the sample takes several lines, each whole, each domain once. */
Test(mem_stats, many_domains)
{
	sim_init(2, 65536);
	for (unsigned i = 0; i < 100; i++) {
		char name[32];
		struct domain_params p = {.name = name, .kind = "test", .vcpus = 1, .nr_pages = 16};
		struct domain *one;

		snprintf(name, sizeof(name), "guest-with-a-long-name-%03u", i);
		cr_assert_eq(domain_create(&one, &p), 0);
		domain_start(one);
	}
	mem_stats_freeze();
	cr_assert_eq(records("\"total\":{"), 1);
	cr_assert_eq(records("\"given\":1600,"), 1);
	cr_assert_gt(records("\"dom\":["), 5);
	for (unsigned i = 0; i < 100; i++) {
		char want[40];

		snprintf(want, sizeof(want), "[\"guest-with-a-long-name-%03u\",16,", i);
		cr_assert_eq(records(want), 1, "%s", want);
	}
}
