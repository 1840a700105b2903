/* SPDX-License-Identifier: MIT */
/* Guest consoles: lines, partial lines, a full log, hostile indexes, input, many notifiers. */
#include "test_evtchn.h"

static struct domain *d;
static struct xencons_interface *ring;
static evtchn_port_t port;
static char out[1 << 20];
static char com3[1 << 12];

static void give_console(void)
{
	ring = guest_page(d, 5);
	cr_assert_eq(console_set_ring(d, ring, &port), 0);
}

static void setup(void)
{
	world_sim(2);
	d = new_domain(2);
	give_console();
	host_console_capture(0, out, sizeof(out));
	host_console_capture(2, com3, sizeof(com3));
	world_settle();
}

TestSuite(console, .init = setup);

/* What has been written out so far, terminated. */
static const char *shown(void)
{
	log_flush();
	out[host_console_len(0)] = 0;
	return out;
}

/* The guest writes as much as there is room for. */
static size_t g_write(const char *s, size_t len)
{
	uint32_t prod = ring->out_prod;
	uint32_t room =
		sizeof(ring->out) - (prod - __atomic_load_n(&ring->out_cons, __ATOMIC_ACQUIRE));
	size_t n = MIN(len, room);

	for (size_t i = 0; i < n; i++)
		ring->out[MASK_XENCONS_IDX(prod++, ring->out)] = s[i];
	__atomic_store_n(&ring->out_prod, prod, __ATOMIC_SEQ_CST);
	return n;
}

static void g_print(const char *s)
{
	cr_assert_eq(g_write(s, strlen(s)), strlen(s));
	cr_assert_eq(evtchn_send(d, port), 0);
}

/* Let pCPU 0's timers come, for @ns. */
static void pass(uint64_t ns)
{
	for (uint64_t t = 0; t < ns; t += NS_PER_MS) {
		host_clock_advance(NS_PER_MS);
		host_service();
	}
}

/* The guest notifies from pCPU 1, whose log is emptied by pCPU 0 only. */
static void notify_from_1(void)
{
	host_become(1);
	host_clock_advance(1000);
	cr_assert_eq(evtchn_send(d, port), 0);
	host_become(0);
}

static unsigned count_of(const char *hay, const char *needle)
{
	unsigned n = 0;

	for (; (hay = strstr(hay, needle)); hay += strlen(needle))
		n++;
	return n;
}

Test(console, lines)
{
	char who[48];

	g_print("one\r\ntwo\n\nthr");
	snprintf(who, sizeof(who), " %s| one\n", d->name);
	cr_assert(strstr(shown(), who), "%s", out);
	cr_assert(strstr(out, "| two\n"));
	cr_assert(!strstr(out, "thr"), "not ended yet");
	g_print("ee\n");
	cr_assert(strstr(shown(), "| three\n"));
	cr_assert_eq(ring->out_cons, ring->out_prod);
}

Test(console, partial_line_is_shown_after_a_while)
{
	g_print("login: ");
	pass(50 * NS_PER_MS);
	cr_assert(!strstr(shown(), "login"));
	pass(100 * NS_PER_MS);
	cr_assert(strstr(shown(), "| login: \n"));
	pass(100 * NS_PER_MS);
	cr_assert(!atomic_load(&d->con.attention), "then it is left alone");
}

Test(console, long_lines_are_split)
{
	char text[1001];

	memset(text, '#', 1000);
	text[1000] = 0;
	g_print(text);
	g_print("\nnext\n");
	shown();
	cr_assert_eq(count_of(out, "#"), 1000);
	cr_assert_eq(count_of(out, "| #"), 3);
	cr_assert_eq(count_of(out, "|"), 4);
	/* Cut exactly at its end: no empty line follows. */
	text[CONSOLE_LINE_MAX] = 0;
	g_print(text);
	g_print("\r\nlast\n");
	shown();
	cr_assert_eq(count_of(out, "|"), 6);
	g_print("\n");
	shown();
	cr_assert_eq(count_of(out, "|"), 7);
}

/* The log has no room: what does not fit stays in the ring and comes later, complete and in order. */
Test(console, full_log_loses_nothing)
{
	unsigned put = 0, seen = 0, blocked = 0;
	char line[64];
	const char *p;

	while (put < 3000) {
		int n = snprintf(line, sizeof(line), "number %u of a long story\n", put);

		if (sizeof(ring->out) - (ring->out_prod - ring->out_cons) >= (unsigned)n) {
			g_write(line, (size_t)n);
			if (put++ % 7 == 0)
				notify_from_1();
			continue;
		}
		notify_from_1();
		if (ring->out_prod - ring->out_cons < sizeof(ring->out) / 2)
			continue;
		blocked++;
		pass(CONSOLE_RETRY_NS);
	}
	cr_assert(blocked > 3, "the log was full at times");
	evtchn_send(d, port);
	pass(50 * CONSOLE_RETRY_NS);
	for (p = shown(); (p = strstr(p, "| number ")); seen++, p++)
		cr_assert_eq(strtoul(p + 9, NULL, 10), seen);
	cr_assert_eq(seen, put);
}

Test(console, hostile_indexes)
{
	g_print("before\n");
	__atomic_store_n(&ring->out_prod, ring->out_cons + 5000, __ATOMIC_SEQ_CST);
	evtchn_send(d, port);
	cr_assert_eq(d->con.broken, 1);
	ring->out_cons = 77; /* ours is kept elsewhere */
	g_print("after\n");
	shown();
	cr_assert(strstr(out, "before") && strstr(out, "after"));
	ring->in_cons = ring->in_prod + 9;
	cr_assert_eq(console_input(d, "x", 1), 0);
}

Test(console, room_is_announced)
{
	char big[2048];

	memset(big, '\n', sizeof(big));
	g2_clear(d, port);
	g_print("short\n");
	cr_assert(!g2_pending(d, port));
	cr_assert_eq(g_write(big, 1500), 1500);
	evtchn_send(d, port);
	cr_assert(g2_pending(d, port), "a guest that waits for room is told");
}

Test(console, input)
{
	char buf[2000];

	memset(buf, 'k', sizeof(buf));
	g2_clear(d, port);
	cr_assert_eq(console_input(d, "hello", 5), 5);
	cr_assert(g2_pending(d, port));
	cr_assert_eq(memcmp(ring->in, "hello", 5), 0);
	cr_assert_eq(console_input(d, buf, sizeof(buf)), sizeof(ring->in) - 5);
	cr_assert_eq(console_input(d, buf, 1), 0);
	ring->in_cons += 100;
	cr_assert_eq(console_input(d, buf, sizeof(buf)), 100);
}

Test(console, attached)
{
	console_attach(d);
	console_poll_start();
	g_print("raw \033[1mbold\r\n$ ");
	com3[host_console_len(2)] = 0;
	cr_assert_str_eq(com3, "raw \033[1mbold\r\n$ ");
	cr_assert(strstr(shown(), "| raw "));
	host_console_input(2, "ls\r");
	pass(20 * NS_PER_MS);
	cr_assert_eq(ring->in_prod, 3);
	cr_assert_eq(memcmp(ring->in, "ls\r", 3), 0);
}

Test(console, io_hypercall)
{
	char buf[16], text[5000];
	uint64_t done = 0, total = 0, stalled = 0;

	cr_assert_eq(console_io_write(d, (uint64_t) "early words\n", 12, &done), 0);
	cr_assert_eq(done, 12);
	cr_assert(strstr(shown(), "| early words\n"));
	/* Not mixed with the ring's line. */
	g_print("from the ");
	cr_assert_eq(console_io_write(d, (uint64_t) "by hypercall\n", 13, &done), 0);
	g_print("ring\n");
	shown();
	cr_assert(strstr(out, "| from the ring\n") && strstr(out, "| by hypercall\n"));
	cr_assert_eq(console_io_write(d, 8, 10, &done), -XEN_EFAULT);
	cr_assert_eq(done, 0);
	/* Much text: in pieces, stalled while the log is full. */
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = i % 50 == 49 ? '\n' : '#';
	host_become(1);
	for (unsigned round = 0; round < 8; round++)
		for (uint64_t at = 0; at < sizeof(text); at += done, total += done) {
			if (!console_io_write(d, (uint64_t)text + at, sizeof(text) - at, &done) ||
			    done)
				continue;
			stalled++;
			host_become(0);
			log_flush();
			host_become(1);
		}
	host_become(0);
	cr_assert_eq(total, 8 * sizeof(text));
	cr_assert(stalled, "the log was full at times");
	shown();
	cr_assert_eq(count_of(out, "#"), 8 * sizeof(text) / 50 * 49);
	/* Reading: nothing, until something is typed for a domain that reads so. */
	atomic_store(&d->con.ring, NULL);
	cr_assert_eq(console_io_read(d, (uint64_t)buf, sizeof(buf)), 0);
	cr_assert_eq(console_input(d, "abc", 3), 3);
	cr_assert_eq(console_io_read(d, (uint64_t)buf, 2), 2);
	cr_assert_eq(console_io_read(d, (uint64_t)buf + 2, 9), 1);
	cr_assert_eq(memcmp(buf, "abc", 3), 0);
}

Test(console, finish_flushes_everything)
{
	char line[64];
	unsigned tries = 0;

	/* Fill the log, then leave bytes in the ring and a line without end. */
	for (unsigned i = 0; i < 1000; i++) {
		int n = snprintf(line, sizeof(line), "filling the log with words %u\n", i);

		if (ring->out_prod - ring->out_cons > sizeof(ring->out) - 100)
			break;
		g_write(line, (size_t)n);
		notify_from_1();
	}
	g_write("last words", 10);
	host_become(1);
	cr_assert(!console_finish(d), "no room for it yet");
	while (!console_finish(d)) {
		host_become(0);
		pass(CONSOLE_RETRY_NS);
		host_become(1);
		cr_assert(++tries < 100);
	}
	host_become(0);
	cr_assert(strstr(shown(), "| last words\n"));
	cr_assert(console_finish(d));
	/* Late notifications and polls do nothing. */
	g_write("ghost\n", 6);
	evtchn_send(d, port);
	pass(50 * NS_PER_MS);
	cr_assert(!strstr(shown(), "ghost"));
}

/* ---- several vCPUs write (by turns) and notify at once ---- */

#define THREADS 4
#define LINES 3000

static pthread_barrier_t ready;
static _Atomic unsigned turn;

static void writer_thread(void *arg)
{
	unsigned id = this_pcpu()->id;
	char line[64];

	(void)arg;
	if (id == 0) {
		world_memory();
		d = new_domain(2);
		give_console();
		atomic_store(&turn, 0);
	}
	pthread_barrier_wait(&ready);
	for (;;) {
		unsigned n = atomic_load(&turn);
		int len = snprintf(line, sizeof(line), "line %u\n", n);

		if (n >= LINES)
			break;
		if (id == 0)
			log_drain();
		/* The ring has one writer at a time, as in a guest; notifying needs no turn. */
		if (n % THREADS == id &&
		    sizeof(ring->out) - (ring->out_prod -
					 __atomic_load_n(&ring->out_cons, __ATOMIC_ACQUIRE)) >=
			    (unsigned)len) {
			g_write(line, (size_t)len);
			atomic_store(&turn, n + 1);
		} else {
			sched_yield();
		}
		evtchn_send(d, port);
		host_service();
	}
	pthread_barrier_wait(&ready);
	while (id == 0 && !console_finish(d)) {
		log_drain();
		host_service();
	}
	if (id == 0)
		log_flush();
}

Test(console_race, many_notifiers)
{
	unsigned seen = 0;

	host_console_capture(0, out, sizeof(out));
	pthread_barrier_init(&ready, NULL, THREADS);
	run_shaken(THREADS, writer_thread);
	out[host_console_len(0)] = 0;
	for (const char *p = out; (p = strstr(p, "| line ")); seen++, p++)
		cr_assert_eq(strtoul(p + 7, NULL, 10), seen, "in order");
	cr_assert_eq(seen, LINES);
}

/* One writes and notifies while another notifies: afterwards nothing is left in the ring. */
#define ROUNDS 5000

static _Atomic unsigned round_no, arrived;

static void pair_thread(void *arg)
{
	unsigned id = this_pcpu()->id;

	(void)arg;
	if (id == 0) {
		world_memory();
		d = new_domain(1);
		give_console();
		atomic_store(&round_no, 0);
		atomic_store(&arrived, 0);
	}
	pthread_barrier_wait(&ready);
	for (unsigned n = 0; n < ROUNDS; n++) {
		if (id == 1)
			g_write("x\n", 2);
		evtchn_send(d, port);
		if (atomic_fetch_add(&arrived, 1) == 1) {
			cr_assert(ring->out_cons == ring->out_prod ||
					  atomic_load(&d->con.attention),
				  "round %u", n);
			atomic_store(&arrived, 0);
			atomic_store(&round_no, n + 1);
		}
		while (atomic_load(&round_no) <= n)
			sched_yield();
		if (n % 64 == 0) {
			host_service();
			if (id == 0)
				log_drain();
		}
	}
}

Test(console_race, no_notification_lost)
{
	host_console_capture(0, out, sizeof(out));
	pthread_barrier_init(&ready, NULL, 2);
	run_shaken(2, pair_thread);
	cr_assert_eq(atomic_load(&round_no), ROUNDS);
}
