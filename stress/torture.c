/* SPDX-License-Identifier: MIT */
/* torture [--seconds N | --rounds N] [--seed S] [--variant V] ...: see torture.h. Exit status 42:
 * something is wrong, and it is said what; 43: it hangs. */
#include <getopt.h>
#include <time.h>

#include "torture.h"

static const struct option options[] = {
	{"seconds", required_argument, NULL, 's'},  {"seed", required_argument, NULL, 'S'},
	{"variant", required_argument, NULL, 'v'},  {"rounds", required_argument, NULL, 'r'},
	{"ops", required_argument, NULL, 'o'},	    {"mutators", required_argument, NULL, 'm'},
	{"scanners", required_argument, NULL, 'n'}, {"domains", required_argument, NULL, 'd'},
	{"frames", required_argument, NULL, 'f'},   {NULL, 0, NULL, 0}};

static NORETURN void usage(void)
{
	fprintf(stderr, "usage: torture [--seconds N | --rounds N] [--seed S] [--ops N]\n"
			"               [--mutators 1..8] [--scanners 0..4] [--domains 1..4]\n"
			"               [--frames N] [--variant ");
	for (unsigned i = 0; i < V_VARIANTS; i++)
		fprintf(stderr, "%s%s", i ? "|" : "", torture_variants[i]);
	fprintf(stderr, "]\n");
	exit(2);
}

static uint64_t number(const char *s, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v = strtoull(s, &end, 0);

	if (end == s || *end || v < min || v > max)
		usage();
	return v;
}

static enum torture_variant variant(const char *s)
{
	for (unsigned i = 0; i < V_VARIANTS; i++)
		if (!strcmp(s, torture_variants[i]))
			return (enum torture_variant)i;
	usage();
}

int main(int argc, char **argv)
{
	int c;

	tc = (struct torture_config){.seed = (uint64_t)time(NULL),
				     .mutators = 4,
				     .scanners = 2,
				     .domains = 3,
				     .frames = TORTURE_FRAMES,
				     .ops = 200000,
				     .seconds = 10};
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			tc.seconds = (double)number(optarg, 1, 1000000);
			break;
		case 'S':
			tc.seed = number(optarg, 0, UINT64_MAX);
			break;
		case 'v':
			torture_variant = variant(optarg);
			break;
		case 'r':
			tc.rounds = number(optarg, 1, UINT64_MAX);
			break;
		case 'o':
			tc.ops = number(optarg, 1, UINT64_MAX);
			break;
		case 'm':
			tc.mutators = (unsigned)number(optarg, 1, T_WORDS);
			break;
		case 'n':
			tc.scanners = (unsigned)number(optarg, 0, 4);
			break;
		case 'd':
			tc.domains = (unsigned)number(optarg, 1, T_MAX_DOMS);
			break;
		case 'f':
			tc.frames = number(optarg, 1000, 1u << 20);
			break;
		default:
			usage();
		}
	}
	if (optind != argc)
		usage();
	printf("# seed %lu, variant %s\n", (unsigned long)tc.seed,
	       torture_variants[torture_variant]);
	fflush(stdout);
	torture_run();
	torture_print();
	return 0;
}
