/* SPDX-License-Identifier: MIT */
/* ioring/: a writer and a reader, more data than room, both sleep when they must. */
#include <string.h>

#include "core/host/host.h"
#include "ioring/record_ring.h"
#include "ioring/ring.h"
#include "stress/litmus/litmus.h"

/* ---- byte stream ---- */

#define BYTES 6

static struct {
	uint32_t prod, cons;
	char buf[4];
	struct byte_ring in, out;
} bytes;

static void byte_setup(void)
{
	host_sim_init(2);
	byte_ring_writer(&bytes.in, bytes.buf, 4, &bytes.prod, &bytes.cons);
	byte_ring_reader(&bytes.out, bytes.buf, 4, &bytes.prod, &bytes.cons);
}

static void byte_write(void)
{
	char next = 1;

	while (next <= BYTES) {
		char two[2] = {next, (char)(next + 1)};
		long n = byte_ring_write(&bytes.in, two, next < BYTES ? 2 : 1);

		LITMUS_ASSERT(n >= 0);
		next = (char)(next + n);
		if (bytes.in.notify)
			arch_kick(1);
		bytes.in.notify = false;
		if (!n)
			litmus_idle();
	}
}

static void byte_read(void)
{
	char next = 1, c[4];

	while (next <= BYTES) {
		long n = byte_ring_read(&bytes.out, c, sizeof(c));

		LITMUS_ASSERT(n >= 0);
		for (long i = 0; i < n; i++, next++)
			LITMUS_ASSERT(c[i] == next);
		if (bytes.out.notify)
			arch_kick(0);
		bytes.out.notify = false;
		if (!n)
			litmus_idle();
	}
}

static void byte_thread(unsigned me)
{
	(me ? byte_read : byte_write)();
}

LITMUS(byte_ring, "byte_ring", "all bytes, in order; neither side sleeps for ever", 2, 0,
       byte_setup, byte_thread, NULL);

/* ---- records ---- */

static struct {
	uint32_t prod, cons;
	char buf[16];
	struct byte_ring in, out;
} records;

static void record_setup(void)
{
	host_sim_init(2);
	byte_ring_writer(&records.in, records.buf, 16, &records.prod, &records.cons);
	byte_ring_reader(&records.out, records.buf, 16, &records.prod, &records.cons);
}

static void record_thread(unsigned me)
{
	for (uint32_t i = 1; i <= 3; i++) {
		struct record_piece piece = {&i, sizeof(i)};
		uint32_t got = 0;
		long n;

		if (me == 0) {
			while (!record_ring_put(&records.in, &piece, 1))
				cpu_relax();
			continue;
		}
		while (!(n = record_ring_next(&records.out)))
			cpu_relax();
		LITMUS_ASSERT(n == sizeof(i));
		record_ring_copy(&records.out, 0, &got, sizeof(got));
		LITMUS_ASSERT(got == i);
		record_ring_take(&records.out, n);
	}
}

LITMUS(record_ring, "record_ring", "all records, whole and in order", 2, 0, record_setup,
       record_thread, NULL);

/* ---- requests and responses ---- */

#define REQUESTS 3

static struct {
	struct ring_shared s;
	uint32_t slot[2];
} shared;
static struct ring_front front;
static struct ring_back back;

static void ring_setup(void)
{
	host_sim_init(2);
	ring_front_init(&front, &shared, sizeof(shared), sizeof(uint32_t));
	ring_back_attach(&back, &shared, sizeof(shared), sizeof(uint32_t));
}

static void front_run(void)
{
	uint32_t sent = 0, got = 0, v;

	while (got < REQUESTS) {
		uint32_t old = front.req_prod;
		bool some = false;

		for (; sent < REQUESTS && ring_front_put(&front, &sent, sizeof(sent)); sent++)
			some = true;
		if (some && ring_front_push(&front, old))
			arch_kick(1);
		while (ring_front_get(&front, &v, sizeof(v)) > 0) {
			LITMUS_ASSERT(v == got + 100);
			got++;
		}
		if (got < REQUESTS && (sent == REQUESTS || !ring_front_free(&front)) &&
		    ring_front_sleep(&front, 1) == 0)
			litmus_idle();
	}
}

static void back_run(void)
{
	uint32_t v, n = 0;

	while (n < REQUESTS) {
		uint32_t old = back.rsp_prod;

		while (ring_back_get(&back, &v, sizeof(v)) > 0) {
			LITMUS_ASSERT(v == n);
			v += 100;
			n++;
			LITMUS_ASSERT(ring_back_put(&back, &v, sizeof(v)));
		}
		if (back.rsp_prod != old && ring_back_push(&back, old))
			arch_kick(0);
		if (n < REQUESTS && ring_back_sleep(&back, 1) == 0)
			litmus_idle();
	}
}

static void ring_thread(unsigned me)
{
	(me ? back_run : front_run)();
}

LITMUS(ring, "ring", "each request is answered, in order; neither side sleeps for ever", 2, 0,
       ring_setup, ring_thread, NULL);
