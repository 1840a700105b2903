/* SPDX-License-Identifier: MIT */
/*
 * Merging equal pages, by Linux KSM or by Xylem's scanner, on the same memory images; and how fast
 * one core hashes and reads. One JSON line on stdout.
 *
 *   share_bench ksm|xylem|rates [GUESTS MIB EQUAL ZERO RUN SCATTER SEED WRITES]
 *
 * GUESTS images of MIB MiB; EQUAL percent of the pages equal in all, of all pages ZERO percent zero;
 * pages of a kind come in runs of RUN at least; SCATTER 1: at other places in each image; WRITES per
 * second by the writer. ./xylem bench share does both, several times, and compares.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress/share_bench/images.h"
#include "stress/share_bench/ksm.h"
#include "stress/share_bench/rates.h"
#include "stress/share_bench/xylem.h"

static struct image_mix mix = {.guests = 4,
			       .pages = 128 * 256,
			       .equal = 75,
			       .zero = 5,
			       .run = 8,
			       .scatter = true,
			       .seed = 1};
static unsigned writes = 1000;

static void ksm(struct images *im)
{
	struct ksm_result r;

	if (!ksm_available())
		die("this kernel has no KSM, or does not let us use it");
	ksm_run(im, writes, &r);
	printf("{\"merged\":%llu,\"cpu_s\":%.6f,\"best\":%llu,"
	       "\"full_scans\":%llu,\"scanned\":%llu,\"writes\":%llu,\"checks\":%llu,\"writer_cpu_"
	       "s\":%.6f,"
	       "\"wrong\":%llu}\n",
	       (unsigned long long)r.merged, r.cpu_s, (unsigned long long)images_best(im),
	       (unsigned long long)r.full_scans, (unsigned long long)r.scanned,
	       (unsigned long long)r.writer.writes, (unsigned long long)r.writer.checks,
	       r.writer.cpu_s, (unsigned long long)r.wrong);
}

static void xylem(struct images *im)
{
	struct xylem_result r;

	xylem_run(im, writes, &r);
	printf("{\"merged\":%llu,\"cpu_s\":%.6f,\"best\":%llu,\"scanned\":%llu,\"guessed\":%llu,"
	       "\"guard_s\":%.6f,\"hash_s\":%.6f,\"map_s\":%.6f,\"faults\":%llu,\"remaps\":%llu,"
	       "\"maps_short\":%s,"
	       "\"writes\":%llu,\"checks\":%llu,\"writer_cpu_s\":%.6f,\"wrong\":%llu}\n",
	       (unsigned long long)r.merged, r.cpu_s, (unsigned long long)images_best(im),
	       (unsigned long long)r.scanned, (unsigned long long)r.guessed, r.guard_s, r.hash_s,
	       r.map_s, (unsigned long long)r.faults, (unsigned long long)r.remaps,
	       r.maps_short ? "true" : "false", (unsigned long long)r.writer.writes,
	       (unsigned long long)r.writer.checks, r.writer.cpu_s, (unsigned long long)r.wrong);
}

static void rates(void)
{
	struct rates r;

	rates_measure(mix.guests * mix.pages, &r);
	printf("{\"hash_bytes_s\":%.0f,\"read_bytes_s\":%.0f,\"hash_cached_bytes_s\":%.0f}\n",
	       r.hash, r.read, r.hash_cached);
}

static unsigned long number(const char *s, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (*end || v < min || v > max)
		die("'%s' is not a number from %lu to %lu", s, min, max);
	return v;
}

static void options(char **argv)
{
	mix.guests = (unsigned)number(argv[0], 2, IMG_MAX);
	mix.pages = number(argv[1], 2, 1024) * 256;
	mix.equal = (unsigned)number(argv[2], 0, 100);
	mix.zero = (unsigned)number(argv[3], 0, mix.equal);
	mix.run = (unsigned)number(argv[4], 1, 512);
	mix.scatter = number(argv[5], 0, 1);
	mix.seed = number(argv[6], 0, ~0UL >> 1);
	writes = (unsigned)number(argv[7], 0, 1000000);
}

int main(int argc, char **argv)
{
	struct images im;

	if (argc != 2 && argc != 10)
		die("usage: share_bench ksm|xylem|rates [GUESTS MIB EQUAL ZERO RUN SCATTER SEED "
		    "WRITES]");
	if (argc == 10)
		options(argv + 2);
	if (!strcmp(argv[1], "rates")) {
		rates();
		return 0;
	}
	images_make(&im, &mix);
	if (!strcmp(argv[1], "ksm"))
		ksm(&im);
	else if (!strcmp(argv[1], "xylem"))
		xylem(&im);
	else
		die("'%s' is neither ksm, xylem nor rates", argv[1]);
	images_free(&im);
	return 0;
}
