/* SPDX-License-Identifier: MIT */
/*
 * litmus [--list] [--sites] [--variant WRONG:ADDRESS,...] [--bound N] [--executions N] [TEST...]
 * Exit status: 0 all right, 42 a test failed, 2 wrong options, 3 trouble of its own.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress/litmus/engine.h"

#define BOUND 3

extern const struct litmus *const __start_litmus_tests[];
extern const struct litmus *const __stop_litmus_tests[];

static const struct option options[] = {{"list", no_argument, NULL, 'l'},
					{"sites", no_argument, NULL, 's'},
					{"variant", required_argument, NULL, 'v'},
					{"bound", required_argument, NULL, 'b'},
					{"executions", required_argument, NULL, 'm'},
					{NULL, 0, NULL, 0}};

static bool chosen(const struct litmus *t, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(*names, t->name))
			return true;
	return false;
}

static bool known(const char *name)
{
	for (const struct litmus *const *t = __start_litmus_tests; t < __stop_litmus_tests; t++)
		if (!strcmp(name, (*t)->name))
			return true;
	fprintf(stderr, "litmus: no test '%s'\n", name);
	return false;
}

static bool run(const struct litmus *t, unsigned bound, uint64_t most)
{
	struct result r;

	if (!bound)
		bound = t->bound ? t->bound : BOUND;
	engine_explore(t, bound, most, &r);
	printf("test %s %s executions=%llu bound=%u", t->name, r.wrong[0] ? "FAILED" : "ok",
	       (unsigned long long)r.executions, r.bound);
	if (r.wrong[0])
		printf(" needed=%u %s", r.needed, r.wrong);
	printf("\n");
	fflush(stdout);
	return !r.wrong[0];
}

int main(int argc, char **argv)
{
	unsigned bound = 0;
	uint64_t most = UINT64_MAX;
	bool list = false, sites = false;
	int c, rc = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			list = true;
			break;
		case 's':
			sites = true;
			break;
		case 'v':
			if (!hooks_variant(optarg))
				return 2;
			break;
		case 'b':
			bound = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'm':
			most = strtoul(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	for (char **name = argv + optind; *name; name++)
		if (!known(*name))
			return 2;
	hooks_list(sites);
	for (const struct litmus *const *t = __start_litmus_tests; t < __stop_litmus_tests; t++) {
		if (!chosen(*t, argv + optind))
			continue;
		if (list)
			printf("%s\t%s\n", (*t)->name, (*t)->shows);
		else if (!run(*t, bound, most))
			rc = 42;
	}
	if (sites)
		hooks_print_list();
	return rc;
}
