/* SPDX-License-Identifier: MIT */
/*
 * The record ring: whole records, each once, in order, whatever their lengths and where the buffer
 * wraps; shown to catch a writer that publishes a record before all its pieces are in.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "ioring/record_ring.h"
#include "tests/seed.h"

static struct {
	char buf[256];
	uint32_t prod, cons;
} st;
static struct byte_ring w, r;

static void setup(void)
{
	memset(&st, 0, sizeof(st));
	st.prod = st.cons = UINT32_MAX - 20; /* the indexes wrap, too */
	byte_ring_writer(&w, st.buf, sizeof(st.buf), &st.prod, &st.cons);
	byte_ring_reader(&r, st.buf, sizeof(st.buf), &st.prod, &st.cons);
}

TestSuite(records, .init = setup);

static bool put(const char *a, uint32_t n, const char *b, uint32_t m)
{
	const struct record_piece piece[] = {{a, n}, {b, m}};

	return record_ring_put(&w, piece, ARRAY_SIZE(piece));
}

Test(records, gathered_and_whole)
{
	char out[64];

	cr_assert_eq(record_ring_next(&r), 0);
	for (unsigned i = 0; i < 100; i++) {
		cr_assert(put("abc", 3, "defgh", 5));
		cr_assert(put("x", 1, "", 0));
		cr_assert_eq(record_ring_next(&r), 8);
		record_ring_copy(&r, 0, out, 8);
		cr_assert_eq(memcmp(out, "abcdefgh", 8), 0);
		record_ring_copy(&r, 2, out, 3);
		cr_assert_eq(memcmp(out, "cde", 3), 0);
		record_ring_take(&r, 8);
		cr_assert_eq(record_ring_next(&r), 1);
		record_ring_take(&r, 1);
		cr_assert_eq(record_ring_next(&r), 0);
	}
}

Test(records, all_or_nothing)
{
	char x[300] = {0};
	uint32_t prod;

	cr_assert_not(put(x, 253, x, 0), "never fits");
	cr_assert_eq(st.prod, w.pvt);
	cr_assert(put(x, 252, x, 0), "just fits");
	cr_assert_not(put(x, 1, x, 0), "full");
	record_ring_take(&r, record_ring_next(&r));
	cr_assert(put(x, 100, x, 100));
	prod = st.prod;
	cr_assert_not(put(x, 30, x, 19), "one byte too many");
	cr_assert_eq(st.prod, prod);
	cr_assert(put(x, 30, x, 18));
	cr_assert_eq(record_ring_next(&r), 200);
}

Test(records, hostile_writer)
{
	uint32_t len = 100;

	cr_assert(put("abc", 3, "def", 3));
	byte_ring_copy_in(&w, r.pvt, &len, sizeof(len));
	cr_assert_eq(record_ring_next(&r), BYTE_RING_BROKEN, "longer than what is there");
	len = UINT32_MAX;
	byte_ring_copy_in(&w, r.pvt, &len, sizeof(len));
	cr_assert_eq(record_ring_next(&r), BYTE_RING_BROKEN);
	len = 0;
	byte_ring_copy_in(&w, r.pvt, &len, sizeof(len));
	cr_assert_eq(record_ring_next(&r), BYTE_RING_BROKEN, "no progress to be made");
	st.prod = r.pvt + 3;
	cr_assert_eq(record_ring_next(&r), BYTE_RING_BROKEN, "no room for a length");
	st.prod = r.pvt + 257;
	cr_assert_eq(record_ring_next(&r), BYTE_RING_BROKEN);
	st.cons = w.pvt + 1;
	cr_assert_not(put("a", 1, "b", 1), "a reader ahead of the writer");
}

/* ---- two threads ---- */

#define RECORDS 100000

static bool early; /* publish before the last piece is in */
static _Atomic bool stop;
static uint64_t writer_seed;

/* Record i: its number, then as many bytes as the seed says, all of one value made from i. */
static bool put_numbered(uint32_t i, uint32_t n)
{
	char fill[64];
	const struct record_piece piece[] = {{&i, sizeof(i)}, {fill, n}};
	uint32_t end = w.pvt + (uint32_t)(sizeof(uint32_t) + sizeof(i)) + n;

	memset(fill, (char)(i * 37 + 11), n);
	if (early && byte_ring_room(&w) >= (long)(end - w.pvt)) {
		byte_ring_store(w.prod, end);
		sched_yield();
	}
	return record_ring_put(&w, piece, ARRAY_SIZE(piece));
}

static void *writer(void *arg)
{
	uint64_t s = writer_seed;

	(void)arg;
	for (uint32_t i = 0; i < RECORDS; i++) {
		uint32_t n = (uint32_t)seed_next(&s) % 64;

		while (!put_numbered(i, n) && !atomic_load(&stop))
			sched_yield();
	}
	return NULL;
}

/* True when every record came once, in order, and whole. */
static bool run(void)
{
	uint64_t s = writer_seed = seed_from_env();
	bool good = true;
	pthread_t th;

	atomic_store(&stop, false);
	pthread_create(&th, NULL, writer, NULL);
	for (uint32_t i = 0; i < RECORDS && good;) {
		long len = record_ring_next(&r);
		char rec[256];
		uint32_t n, no;

		if (!len) {
			sched_yield();
			continue;
		}
		n = (uint32_t)seed_next(&s) % 64;
		good = len == (long)(sizeof(no) + n);
		if (!good)
			break;
		record_ring_copy(&r, 0, rec, (uint32_t)len);
		memcpy(&no, rec, sizeof(no));
		good = no == i;
		for (uint32_t k = 0; k < n && good; k++)
			good = rec[sizeof(no) + k] == (char)(i * 37 + 11);
		record_ring_take(&r, len);
		i++;
	}
	atomic_store(&stop, true);
	pthread_join(th, NULL);
	return good;
}

Test(records, two_threads)
{
	cr_assert(run());
	cr_assert_eq(record_ring_next(&r), 0);
	cr_assert_eq(st.prod, st.cons);
}

#ifndef __SANITIZE_THREAD__ /* racy on purpose */
Test(records, publishing_early_is_caught)
{
	bool good = true;

	early = true;
	for (unsigned i = 0; i < 50 && good; i++) {
		setup();
		good = run();
	}
	cr_assert_not(good);
}
#endif
