/* SPDX-License-Identifier: MIT */
/* The boot configuration: what is read, and how each mistake is told. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"

static struct config_reader reader;
static struct config_item item;

static enum config_kind first(const char *text)
{
	config_open(&reader, text, strlen(text));
	return config_next(&reader, &item);
}

Test(config, a_full_line)
{
	const struct guest_config *g = &item.guest;

	cr_assert_eq(first("# comment\n\nguest name=linux1 kind=linux kernel=k0 initrd=i0 vcpus=2 "
			   "mem=256M weight=512 min=4M shares=77 warp=100:2000:30000 pin=0-3+5 "
			   "cmdline=\"console=hvc0 a=\\\"b c\\\" \\\\x\" # end\n"),
		     CONFIG_GUEST);
	cr_assert_str_eq((char *)g->name, "linux1");
	cr_assert_str_eq((char *)g->kind, "linux");
	cr_assert_str_eq((char *)g->kernel, "k0");
	cr_assert_str_eq((char *)g->initrd, "i0");
	cr_assert_str_eq((char *)g->cmdline, "console=hvc0 a=\"b c\" \\x");
	cr_assert_eq(g->vcpus, 2);
	cr_assert_eq(g->mem_bytes, 256ULL << 20);
	cr_assert_eq(g->min_bytes, 4ULL << 20);
	cr_assert_eq(g->shares, 77);
	cr_assert_eq(g->weight, 512);
	cr_assert(g->warp);
	cr_assert_eq(g->warp_us, 100);
	cr_assert_eq(g->warp_limit_us, 2000);
	cr_assert_eq(g->unwarp_us, 30000);
	cr_assert(g->pinned);
	cr_assert_eq(cpumask_weight(&g->pin), 5);
	cr_assert(cpumask_test(&g->pin, 5) && !cpumask_test(&g->pin, 4));
	cr_assert_eq(g->line, 3);
	cr_assert_eq(config_next(&reader, &item), CONFIG_END);
	cr_assert_eq(config_next(&reader, &item), CONFIG_END);
}

Test(config, defaults)
{
	cr_assert_eq(first("guest name=a kernel=k"), CONFIG_GUEST);
	cr_assert_eq(item.guest.vcpus, 1);
	cr_assert_eq(item.guest.weight, 256);
	cr_assert_eq(item.guest.mem_bytes, 64ULL << 20);
	cr_assert_eq(item.guest.min_bytes, CONFIG_DEFAULT);
	cr_assert_eq(item.guest.shares, 0);
	cr_assert(!item.guest.pinned && !item.guest.warp);
	cr_assert_str_eq(item.guest.kind, "pv");
}

Test(config, settings)
{
	cr_assert_eq(first("set attach linux1\r\n"), CONFIG_SET);
	cr_assert_str_eq(item.key, "attach");
	cr_assert_str_eq(item.value, "linux1");
}

/* Each line is refused with a message that names the line and the word. */
Test(config, bad_lines)
{
	static const struct {
		const char *line, *word;
	} bad[] = {
		{"guest name=a kernel=k vcpus=0", "vcpus=0"},
		{"guest name=a kernel=k vcpus=129", "vcpus=129"},
		{"guest name=a kernel=k vcpus=99999999999999999999", "vcpus=9999"},
		{"guest name=a kernel=k vcpus=2x", "vcpus=2x"},
		{"guest name=a kernel=k vcpus", "vcpus"},
		{"guest name=a kernel=k mem=12Q", "mem=12Q"},
		{"guest name=a kernel=k mem=", "mem="},
		{"guest name=a kernel=k mem=99999999G", "mem=99999999G"},
		{"guest name=a kernel=k weight=0", "weight=0"},
		{"guest name=a kernel=k min=8M mem=4M", "min"},
		{"guest name=a kernel=k min=x", "min=x"},
		{"guest name=a kernel=k shares=0", "shares=0"},
		{"guest name=a kernel=k shares=1000001", "shares=1000001"},
		{"guest name=a kernel=k warp=1:2", "warp=1:2"},
		{"guest name=a kernel=k warp=1:2:3:4", "warp=1:2:3:4"},
		{"guest name=a kernel=k pin=3-1", "pin=3-1"},
		{"guest name=a kernel=k pin=255", "pin=255"},
		{"guest name=a kernel=k pin=1,2", "pin=1,2"},
		{"guest name=a kernel=k cmdline=\"x", "cmdline=\"x"},
		{"guest name=a kernel=k cmdline=\"x\"y", "cmdline="},
		{"guest name=a kernel=k colour=red", "colour=red"},
		{"guest name=a/b kernel=k", "name=a/b"},
		{"guest name=xylem kernel=k", "name=xylem"},
		{"guest name= kernel=k", "name="},
		{"guest kernel=k", "guest"},
		{"guest name=a", "guest"},
		{"guest name=0123456789012345678901234567890123456789 kernel=k", "name=0123"},
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "\n%s\nguest name=next kernel=k\n", bad[i].line);
		cr_assert_eq(first(text), CONFIG_BAD_GUEST, "%s", bad[i].line);
		cr_assert(strncmp(item.error, "line 2: ", 8) == 0, "%s", item.error);
		cr_assert(strstr(item.error, bad[i].word), "%s: %s", bad[i].line, item.error);
		/* The next one is not affected. */
		cr_assert_eq(config_next(&reader, &item), CONFIG_GUEST);
		cr_assert_str_eq(item.guest.name, "next");
	}
}

Test(config, bad_statements)
{
	static const char *const bad[] = {
		"gest name=a kernel=k", "set", "set a", "set a b c", "set a=b c", "=", "guest=x"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert_eq(first(bad[i]), CONFIG_BAD_STATEMENT, "%s", bad[i]);
		cr_assert(strncmp(item.error, "line 1: ", 8) == 0, "%s", item.error);
	}
}

Test(config, an_error_keeps_the_name)
{
	cr_assert_eq(first("guest vcpus=0 name=later kernel=k"), CONFIG_BAD_GUEST);
	cr_assert_str_eq(item.guest.name, "later");
}

Test(config, duplicate_names)
{
	static const char text[] = "guest name=aa kernel=k\nguest name=a kernel=k\n"
				   "guest name=\"aa\" kernel=k\nguest name=aaa kernel=k\n"
				   "guest name=a kernel=k";
	static const enum config_kind want[] = {CONFIG_GUEST, CONFIG_GUEST,	CONFIG_BAD_GUEST,
						CONFIG_GUEST, CONFIG_BAD_GUEST, CONFIG_END};

	config_open(&reader, text, strlen(text));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		cr_assert_eq(config_next(&reader, &item), want[i], "line %zu", i + 1);
		if (want[i] == CONFIG_BAD_GUEST) {
			cr_assert(strstr(item.error, "already used"));
			cr_assert_str_eq(item.guest.name, "");
		}
	}
}

Test(config, thousands_of_names)
{
	char *text = malloc(MAX_DOMAINS * 40), *p = text;
	unsigned n = 0;

	for (unsigned i = 0; i < MAX_DOMAINS; i++)
		p += sprintf(p, "guest name=g%u kernel=k\n", i);
	config_open(&reader, text, (size_t)(p - text));
	while (config_next(&reader, &item) == CONFIG_GUEST)
		n++;
	cr_assert_eq(item.kind, CONFIG_END);
	cr_assert_eq(n, MAX_DOMAINS);
	free(text);
}

Test(config, sizes)
{
	uint64_t v;

	cr_assert(config_parse_size("300", &v) && v == 300ULL << 20);
	cr_assert(config_parse_size("512k", &v) && v == 512ULL << 10);
	cr_assert(config_parse_size("4G", &v) && v == 4ULL << 30);
	cr_assert(!config_parse_size("", &v) && !config_parse_size("M", &v));
	cr_assert(!config_parse_size("1MM", &v) && !config_parse_size("-1M", &v));
	cr_assert(!config_parse_size("18446744073709551616K", &v));
}

Test(config, modules)
{
	static const struct boot_module mods[] = {{"xylem.conf", 0, 1}, {"k0", 4096, 2}};

	cr_assert_eq((void *)boot_module_find(mods, 2, "k0"), (void *)&mods[1]);
	cr_assert_eq((void *)boot_module_find(mods, 2, "k"), NULL);
}

/* Any bytes: terminates, and reads only what it was given (the buffer is exact, for ASan). */
Test(config, garbage)
{
	static const char alphabet[] = "guest name=a kernel=k mem=pin=0-3+5\"\\#\n\r\t \0:=";
	unsigned seed = 20260101;

	cr_log_info("seed %u", seed);
	for (unsigned round = 0; round < 20000; round++) {
		size_t len = (size_t)(rand_r(&seed) % 200), lines = 0;
		char *text = malloc(len + 1);

		text = realloc(text, len ? len : 1);
		for (size_t i = 0; i < len; i++)
			text[i] = rand_r(&seed) % 20
					  ? alphabet[(size_t)rand_r(&seed) % sizeof(alphabet)]
					  : (char)rand_r(&seed);
		config_open(&reader, text, len);
		while (config_next(&reader, &item) != CONFIG_END) {
			cr_assert(++lines <= len);
			cr_assert(memchr(item.error, 0, sizeof(item.error)));
		}
		free(text);
	}
}
