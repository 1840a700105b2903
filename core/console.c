/* SPDX-License-Identifier: MIT */
/*
 * Console output.
 *
 * drain word: IDLE, OWNED, AGAIN (owned, and somebody came since the owner began its round), CLOSED.
 * Invariant: the owner's fields are touched only by who took the word from IDLE.
 * Linearization: taking and letting go at the CAS of the drain word.
 * Orders: seq_cst. A guest stores out_prod and then notifies; the notifier's RMW turns OWNED into
 *   AGAIN or the word is IDLE: in the first case the owner's CAS OWNED -> IDLE fails and it looks
 *   at the ring again after an RMW that came later. PAIRS: con_drain.
 * Progress: nobody waits; an owner's rounds are bounded, the rest is left to pCPU 0.
 * Reclamation: with the domain, a grace period after console_finish().
 *
 * "Attention" is pCPU 0's list of consoles that need another look: log full, rounds used up, or a
 * line without its end. The list and its timer are private to pCPU 0; others post attention_msg.
 */
#include "core/domain.h"
#include "core/lib.h"
#include "core/xen_errno.h"

enum { IDLE, OWNED, AGAIN, CLOSED };

#define ROUNDS 4	   /* of an owner that is notified again and again */
#define ROUND_BYTES 4096   /* twice the ring */
#define IO_WRITE_MAX 4096u /* bytes of one CONSOLEIO_write pass */

static struct console *attn_list; /* pCPU 0 */
static struct timer attn_timer;
static bool attn_ready;

static struct domain *domain_of(struct console *con)
{
	return container_of(con, struct domain, con);
}

/* ---- lines ---- */

/* A complete line goes to the log; false when that has no room. */
static bool line_out(struct domain *d, struct console_line *l)
{
	if (!l->complete)
		return true;
	if (!log_guest_line(d->name, l->text, l->len))
		return false;
	l->len = 0;
	l->complete = false;
	return true;
}

/* Add bytes to @l; returns how many were taken: all, or fewer when the log is full. */
static size_t line_feed(struct domain *d, struct console_line *l, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!line_out(d, l))
			return i;
		if (s[i] == '\r' || (s[i] == '\n' && l->was_split)) {
			l->was_split = l->was_split && s[i] == '\r';
			continue;
		}
		if (s[i] != '\n') {
			if (!l->len)
				l->first_ns = arch_now_ns();
			l->text[l->len++] = s[i];
		}
		l->was_split = l->len == CONSOLE_LINE_MAX;
		l->complete = s[i] == '\n' || l->was_split;
	}
	line_out(d, l);
	return n;
}

static void line_expire(struct domain *d, struct console_line *l, uint64_t now)
{
	if (l->len && (atomic_load(&d->con.finishing) || now - l->first_ns >= CONSOLE_PARTIAL_NS))
		l->complete = true;
	line_out(d, l);
}

/* ---- the ring ---- */

static long stage_fill(struct console *con)
{
	long n;

	if (!con->out.buf)
		return 0;
	n = byte_ring_read(&con->out, con->stage, sizeof(con->stage));
	if (n < 0) {
		con->broken++;
		byte_ring_resync(&con->out);
		return 0;
	}
	con->stage_pos = 0;
	con->stage_len = (uint32_t)n;
	con->bytes_out += (uint64_t)n;
	if (n && atomic_load_explicit(&con->attached, memory_order_relaxed))
		arch_console_write(2, con->stage, (size_t)n);
	return n;
}

/* One round of the owner. */
static void drain_round(struct domain *d)
{
	struct console *con = &d->con;

	for (long got = 0; got < ROUND_BYTES;) {
		long n;

		con->stage_pos += line_feed(d, &con->line, con->stage + con->stage_pos,
					    con->stage_len - con->stage_pos);
		if (con->stage_pos < con->stage_len)
			break;
		n = stage_fill(con);
		if (!n)
			break;
		got += n;
	}
	if (con->out.notify) {
		con->out.notify = false;
		evtchn_notify_hyp_port(d, atomic_load(&con->port));
	}
	line_expire(d, &con->line, arch_now_ns());
	line_expire(d, &con->io_line, arch_now_ns());
}

/* Whether somebody must look again later even if the guest does not notify. Owner. */
static bool unfinished(struct console *con)
{
	return con->stage_pos < con->stage_len || con->line.len || con->line.complete ||
	       con->io_line.len || con->io_line.complete ||
	       (con->out.buf && byte_ring_avail(&con->out) > 0);
}

/* Have pCPU 0 look again. Owner, so that after CLOSED nobody does. */
static void attend(struct console *con)
{
	if (!atomic_exchange(&con->attention, true))
		inbox_post(0, &con->attention_msg);
}

/* Let go; true when another round is due (only while @rounds_left). */
static bool drain_again(struct console *con, bool rounds_left)
{
	uint32_t s = OWNED;

	if (unfinished(con))
		attend(con);
	/* PAIRS: con_drain */
	if (atomic_compare_exchange_strong(&con->drain, &s, IDLE))
		return false;
	if (!rounds_left) {
		attend(con);
		atomic_store(&con->drain, IDLE);
		return false;
	}
	atomic_exchange(&con->drain, OWNED);
	return true;
}

static bool drain_own(struct console *con, bool leave_mark)
{
	uint32_t s = atomic_load(&con->drain), to;
	CAS_LOOP(loop, "console ring, own");

	do {
		if (s == CLOSED || (s != IDLE && !leave_mark))
			return false;
		to = s == IDLE ? OWNED : AGAIN;
		/* PAIRS: con_drain */
	} while (!atomic_compare_exchange_weak(&con->drain, &s, to) && retry(&loop));
	return s == IDLE;
}

static void console_drain(struct domain *d)
{
	struct console *con = &d->con;
	unsigned rounds = ROUNDS;

	if (!drain_own(con, true))
		return;
	do
		drain_round(d);
	while (drain_again(con, --rounds > 0));
}

static void guest_notified(struct domain *d, evtchn_port_t port)
{
	(void)port;
	console_drain(d);
}

/* ---- attention, on pCPU 0 ---- */

static void attn_run(struct timer *t, uint64_t now)
{
	struct console *con = attn_list, *next;

	(void)t;
	(void)now;
	attn_list = NULL;
	for (; con; con = next) {
		next = con->next;
		/* From here on it can be posted again, by this drain for a start. */
		atomic_store(&con->attention, false);
		console_drain(domain_of(con));
	}
}

static void attn_msg(struct inbox_msg *msg)
{
	struct console *con = container_of(msg, struct console, attention_msg);

	if (!attn_ready) {
		timer_init(&attn_timer, attn_run);
		attn_ready = true;
	}
	con->next = attn_list;
	attn_list = con;
	if (!timer_armed(&attn_timer))
		timer_arm(&attn_timer, arch_now_ns() + CONSOLE_RETRY_NS);
}

/* ---- life ---- */

void console_init(struct domain *d)
{
	memset(&d->con, 0, sizeof(d->con));
	d->con.attention_msg.fn = attn_msg;
}

int console_set_ring(struct domain *d, struct xencons_interface *ring, evtchn_port_t *port)
{
	struct console *con = &d->con;
	int rc = evtchn_alloc_hyp(d, 0, guest_notified, port);

	if (rc)
		return rc;
	byte_ring_reader(&con->out, ring->out, sizeof(ring->out), &ring->out_prod, &ring->out_cons);
	byte_ring_writer(&con->in, ring->in, sizeof(ring->in), &ring->in_prod, &ring->in_cons);
	atomic_store(&con->ring, ring);
	atomic_store(&con->port, *port);
	return 0;
}

bool console_finish(struct domain *d)
{
	struct console *con = &d->con;

	if (atomic_load(&con->drain) == CLOSED)
		return true;
	atomic_store(&con->finishing, true);
	if (!drain_own(con, true))
		return false;
	drain_round(d);
	/* Marks left by others mean bytes that unfinished() sees; nobody adds any more. */
	if (unfinished(con) || atomic_load(&con->attention)) {
		drain_again(con, false);
		return false;
	}
	console_detach(d);
	atomic_store(&con->ring, NULL);
	atomic_exchange(&con->drain, CLOSED);
	return true;
}

/* ---- CONSOLEIO_write ---- */

long console_io_write(struct domain *d, uint64_t gva, uint64_t count, uint64_t *done)
{
	struct console *con = &d->con;
	uint64_t at = 0, limit = MIN(count, IO_WRITE_MAX);
	char buf[128];
	long rc = 0;

	*done = 0;
	if (!drain_own(con, false))
		return -XEN_EAGAIN;
	while (at < limit) {
		size_t n = MIN(limit - at, sizeof(buf)), taken;

		if (copy_from_guest(buf, gva + at, n)) {
			rc = -XEN_EFAULT;
			break;
		}
		taken = line_feed(d, &con->io_line, buf, n);
		if (taken && atomic_load_explicit(&con->attached, memory_order_relaxed))
			arch_console_write(2, buf, taken);
		at += taken;
		if (taken < n)
			break;
	}
	con->bytes_out += at;
	*done = at;
	/* Who left a mark meanwhile wants the ring drained. */
	for (unsigned rounds = ROUNDS; drain_again(con, --rounds > 0);)
		drain_round(d);
	return rc ? rc : at < count ? -XEN_EAGAIN : 0;
}
