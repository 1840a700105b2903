/* SPDX-License-Identifier: MIT */
/*
 * Console input: bytes from stream 2, polled by pCPU 0, to the attached domain: into its console
 * ring, or into a small buffer that CONSOLEIO_read empties.
 *
 * The buffer is SPSC except that several vCPUs may read at once: they take bytes by CAS on io_cons.
 * Orders: the store of io_prod releases the bytes, readers acquire it; the CAS on io_cons comes
 *   after the copy, and the producer reads io_cons before it overwrites. PAIRS: con_in.
 */
#include "core/domain.h"
#include "core/xen_errno.h"

#define INPUT_POLL_NS (10 * NS_PER_MS)

static _Atomic(struct domain *) attached;
static struct timer poll_timer;
static char held[64]; /* pCPU 0: read from the stream, no room at the guest yet */
static size_t nr_held;

void console_attach(struct domain *d)
{
	atomic_store(&d->con.attached, true);
	atomic_store(&attached, d);
}

void console_detach(struct domain *d)
{
	struct domain *was = d;

	atomic_compare_exchange_strong(&attached, &was, NULL);
}

static size_t to_buffer(struct console *con, const char *buf, size_t len)
{
	uint32_t prod = atomic_load_explicit(&con->io_prod, memory_order_relaxed);
	size_t n = 0;

	/* PAIRS: con_in */
	while (n < len && prod - atomic_load(&con->io_cons) < CONSOLE_INPUT)
		__atomic_store_n(&con->io_in[prod++ % CONSOLE_INPUT], buf[n++], __ATOMIC_RELAXED);
	/* PAIRS: con_in */
	atomic_store(&con->io_prod, prod);
	return n;
}

size_t console_input(struct domain *d, const char *buf, size_t len)
{
	struct console *con = &d->con;
	long n;

	if (!atomic_load(&con->ring) || atomic_load(&con->io_reader))
		return to_buffer(con, buf, len);
	n = byte_ring_write(&con->in, buf, len);
	/* Indexes that make no sense count as a full ring, until the guest mends them. */
	if (n <= 0)
		return 0;
	/* Always: guests differ in what they make of a partly filled ring. */
	con->in.notify = false;
	evtchn_notify_hyp_port(d, atomic_load(&con->port));
	return (size_t)n;
}

long console_io_read(struct domain *d, uint64_t gva, uint64_t count)
{
	struct console *con = &d->con;
	char buf[CONSOLE_INPUT];
	uint32_t cons, n;
	CAS_LOOP(loop, "console input");

	if (!atomic_load(&con->ring))
		atomic_store(&con->io_reader, true);
	cons = atomic_load(&con->io_cons);
	do {
		/* PAIRS: con_in */
		n = atomic_load(&con->io_prod) - cons;
		n = MIN(n, MIN(count, CONSOLE_INPUT));
		for (uint32_t i = 0; i < n; i++)
			buf[i] = __atomic_load_n(&con->io_in[(cons + i) % CONSOLE_INPUT],
						 __ATOMIC_RELAXED);
		/* PAIRS: con_in */
	} while (!atomic_compare_exchange_weak(&con->io_cons, &cons, cons + n) && retry(&loop));
	retry_done(&loop);
	if (n && copy_to_guest(gva, buf, n))
		return -XEN_EFAULT;
	return n;
}

static void input_poll(struct timer *t, uint64_t now)
{
	struct domain *d = atomic_load(&attached);
	int c;

	while (nr_held < sizeof(held) && (c = arch_console_read(2)) >= 0)
		held[nr_held++] = (char)c;
	if (d && nr_held) {
		size_t n = console_input(d, held, nr_held);

		nr_held -= n;
		for (size_t i = 0; i < nr_held; i++)
			held[i] = held[i + n];
	}
	timer_arm(t, now + INPUT_POLL_NS);
}

void console_poll_start(void)
{
	timer_init(&poll_timer, input_poll);
	timer_arm(&poll_timer, arch_now_ns() + INPUT_POLL_NS);
}
