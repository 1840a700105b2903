/* SPDX-License-Identifier: MIT */
/*
 * Line transfers and basic blocks of each operation on so many pCPUs; see lines.c. One JSON line per
 * operation on stdout.
 *
 *   scale_lines domains|vcpus PCPUS [OPERATION]
 */
#include "stress/scale_bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each operation on a machine of its own. */
static void all_lines(enum layout layout, unsigned pcpus, const char *only)
{
	unsigned n = 0;

	for (const struct scale_op *op = scale_ops; op->name; op++) {
		int status;
		pid_t pid;

		if (!(op->layouts & layout) || (only && strcmp(only, op->name) != 0))
			continue;
		n++;
		fflush(stdout);
		pid = fork();
		if (pid < 0)
			die("cannot fork");
		if (!pid) {
			lines_run(op, layout, pcpus);
			exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			die("%s on %u pCPUs: wait status %#x", op->name, pcpus, status);
	}
	if (!n)
		die("no operation '%s' in this layout", only);
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 4)
		die("usage: scale_lines domains|vcpus PCPUS [OPERATION]");
	all_lines(layout_of(argv[1]), number(argv[2], 1, SEATS_MAX), argc == 4 ? argv[3] : NULL);
	return 0;
}
