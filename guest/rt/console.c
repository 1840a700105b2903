/* SPDX-License-Identifier: MIT */
/* Console ring producer. One lock: lines of several vCPUs must not mix. */
#include "rt/console.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <xen/io/console.h>

static struct xencons_interface *ring;
static uint32_t ring_port;
static atomic_flag lock = ATOMIC_FLAG_INIT;

void console_init(struct xencons_interface *r, uint32_t port)
{
	ring = r;
	ring_port = port;
}

static void notify(void)
{
	struct evtchn_send s = {.port = ring_port};

	hc_evtchn(EVTCHNOP_send, &s);
}

/* A moment for the consumer; poll with a timeout frees the pCPU, unlike yield. */
static void wait_consumer(void)
{
	struct sched_poll p = {.nr_ports = 0, .timeout = 1};

	notify();
	hc_sched(SCHEDOP_yield, NULL);
	set_xen_guest_handle(p.ports, NULL);
	hc_sched(SCHEDOP_poll, &p);
}

static void ring_write(const char *s, size_t n)
{
	XENCONS_RING_IDX prod = ring->out_prod;

	while (n) {
		XENCONS_RING_IDX cons = atomic_load_explicit(
			(_Atomic XENCONS_RING_IDX *)&ring->out_cons, memory_order_acquire);

		if (prod - cons >= sizeof(ring->out)) {
			wait_consumer();
			continue;
		}
		ring->out[MASK_XENCONS_IDX(prod, ring->out)] = *s++;
		prod++;
		n--;
		atomic_store_explicit((_Atomic XENCONS_RING_IDX *)&ring->out_prod, prod,
				      memory_order_release);
	}
	notify();
}

void console_drain(void)
{
	if (!ring)
		return;
	for (int i = 0; i < 2000; i++) {
		if (atomic_load((_Atomic XENCONS_RING_IDX *)&ring->out_cons) == ring->out_prod)
			return;
		wait_consumer();
	}
}

void printf(const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	size_t n;
	bool was;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	was = events_save_mask();
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		hc_sched(SCHEDOP_yield, NULL);
	if (ring)
		ring_write(buf, n);
	else
		HC3(console_io, CONSOLEIO_write, n, buf);
	atomic_flag_clear_explicit(&lock, memory_order_release);
	events_restore_mask(was);
}
