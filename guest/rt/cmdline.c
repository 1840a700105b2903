/* SPDX-License-Identifier: MIT */
/* key=value words of the command line. */
#include "rt/role.h"

#define MAX_WORDS 32

static char line[MAX_GUEST_CMDLINE];
static char *words[MAX_WORDS];
static unsigned int nr_words;

void cmdline_init(const char *cmdline)
{
	char *p = line;

	memcpy(line, cmdline, sizeof(line) - 1);
	while (*p && nr_words < MAX_WORDS) {
		while (*p == ' ')
			*p++ = 0;
		if (!*p)
			break;
		words[nr_words++] = p;
		while (*p && *p != ' ')
			p++;
	}
}

const char *arg_str(const char *key, const char *dflt)
{
	size_t n = strlen(key);

	/* The last one counts: `create` on the control stream adds words behind the others. */
	for (unsigned int i = nr_words; i-- > 0;)
		if (!strncmp(words[i], key, n) && words[i][n] == '=')
			return words[i] + n + 1;
	return dflt;
}

uint64_t arg_num(const char *key, uint64_t dflt)
{
	const char *s = arg_str(key, NULL);
	uint64_t v = 0;

	if (!s)
		return dflt;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			role_fail("%s= is not a number", key);
		v = v * 10 + (uint64_t)(*s - '0');
	}
	return v;
}
