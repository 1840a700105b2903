/* SPDX-License-Identifier: MIT */
/*
 * How operations that have nothing to do with each other scale with the number of pCPUs, on the host
 * build. One JSON line per result on stdout.
 *
 *   scale_bench pace domains|vcpus ROUNDS MS [OPERATION]    on real cores, one and two threads
 *   scale_bench transfer ROUNDS                             one line between two cores, ns
 *   scale_bench list
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress/scale_bench/bench.h"

static void list(void)
{
	for (const struct scale_op *op = scale_ops; op->name; op++)
		printf("{\"op\":\"%s\",\"domains\":%s,\"vcpus\":%s,\"control\":%s}\n", op->name,
		       op->layouts & APART ? "true" : "false", op->layouts & ONE ? "true" : "false",
		       op->control ? "true" : "false");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "list") && argc == 2)
		list();
	else if (!strcmp(what, "transfer") && argc == 3)
		pace_transfer(number(argv[2], 1, 1000));
	else if (!strcmp(what, "pace") && (argc == 5 || argc == 6))
		pace_run(layout_of(argv[2]), number(argv[3], 1, 10000), number(argv[4], 1, 10000),
			 argc == 6 ? argv[5] : NULL);
	else
		die("usage: scale_bench pace domains|vcpus ROUNDS MS [OPERATION] | "
		    "transfer ROUNDS | list");
	return 0;
}
