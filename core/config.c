/* SPDX-License-Identifier: MIT */
#include "core/config.h"

#include "core/fmt.h"
#include "core/lib.h"
#include "memsvc/policy.h"

#define DEFAULT_MEM (64ULL << 20)
#define DEFAULT_WEIGHT 256
#define MAX_WEIGHT 65536
#define MAX_US 1000000000ULL
#define MAX_MEM (1ULL << 44) /* names must fit 32 bits */

/* A word of a line: key=value, the value perhaps quoted. */
struct word {
	const char *key;
	size_t key_len;
	const char *value; /* NULL when there is no '=' */
	size_t value_len;  /* raw, quotes and escapes included */
};

struct line {
	const char *p, *end;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool key_is(const struct word *w, const char *key)
{
	return strlen(key) == w->key_len && memcmp(w->key, key, w->key_len) == 0;
}

/* The next word of a line; false at its end. A quote opens only right after '='. */
static bool next_word(struct line *l, struct word *w)
{
	while (l->p < l->end && is_space(*l->p))
		l->p++;
	if (l->p == l->end || *l->p == '#')
		return false;
	w->key = l->p;
	while (l->p < l->end && !is_space(*l->p) && *l->p != '=')
		l->p++;
	w->key_len = (size_t)(l->p - w->key);
	w->value = NULL;
	w->value_len = 0;
	if (l->p == l->end || *l->p != '=')
		return true;
	w->value = ++l->p;
	if (l->p < l->end && *l->p == '"') {
		for (l->p++; l->p < l->end && *l->p != '"'; l->p++)
			if (*l->p == '\\' && l->p + 1 < l->end)
				l->p++;
		if (l->p < l->end)
			l->p++;
	}
	while (l->p < l->end && !is_space(*l->p))
		l->p++;
	w->value_len = (size_t)(l->p - w->value);
	return true;
}

/* Copy a value without its quotes; an error word, or NULL. */
static const char *take_value(const struct word *w, char *out, size_t room)
{
	const char *p = w->value, *end = p + w->value_len;
	size_t n = 0;
	bool quoted = p < end && *p == '"';

	if (!w->value)
		return "has no value";
	if (quoted)
		p++;
	for (;; p++) {
		if (p == end) {
			if (quoted)
				return "unterminated quote";
			break;
		}
		if (quoted && *p == '"') {
			if (p + 1 != end)
				return "text after the closing quote";
			break;
		}
		if (quoted && *p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
			p++;
		if ((unsigned char)*p < ' ')
			return "control character";
		if (n + 1 >= room)
			return "too long";
		out[n++] = *p;
	}
	out[n] = 0;
	return NULL;
}

static bool parse_whole(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	return str_decimal(s, out) && *out >= min && *out <= max;
}

bool config_parse_size(const char *s, uint64_t *bytes)
{
	unsigned shift = 20;

	if (!str_u64(&s, bytes))
		return false;
	if (*s) {
		switch (*s++ | 0x20) {
		case 'k':
			shift = 10;
			break;
		case 'm':
			break;
		case 'g':
			shift = 30;
			break;
		default:
			return false;
		}
	}
	if (*s || *bytes > MAX_MEM >> shift)
		return false;
	*bytes <<= shift;
	return true;
}

bool config_parse_pin(const char *s, bool *pinned, cpumask_t *mask)
{
	*mask = CPUMASK_NONE;
	*pinned = strcmp(s, "all") != 0;
	if (!*pinned)
		return true;
	for (;;) {
		uint64_t a, b;

		if (!str_u64(&s, &a))
			return false;
		b = a;
		if (*s == '-') {
			s++;
			if (!str_u64(&s, &b))
				return false;
		}
		if (b < a || b >= MAX_PCPUS)
			return false;
		for (; a <= b; a++)
			cpumask_set(mask, (unsigned)a);
		if (*s == 0)
			return true;
		if (*s++ != '+')
			return false;
	}
}

/* off, or warp:limit:unwarp in us; 0 for a limit means none. */
static bool parse_warp(const char *s, struct guest_config *g)
{
	uint64_t v[3];

	if (strcmp(s, "off") == 0) {
		g->warp = false;
		return true;
	}
	for (unsigned i = 0; i < 3; i++) {
		if (!str_u64(&s, &v[i]) || v[i] > MAX_US)
			return false;
		if (*s++ != (i < 2 ? ':' : 0))
			return false;
	}
	g->warp = true;
	g->warp_us = v[0];
	g->warp_limit_us = v[1];
	g->unwarp_us = v[2];
	return true;
}

bool config_name_ok(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		      (*s >= '0' && *s <= '9') || *s == '-' || *s == '_' || *s == '.'))
			return false;
	return true;
}

static const char *set_field(struct guest_config *g, const struct word *w)
{
	char tmp[128];
	const char *err;
	uint64_t v;

	if (key_is(w, "cmdline"))
		return take_value(w, g->cmdline, sizeof(g->cmdline));
	err = take_value(w, tmp, sizeof(tmp));
	if (err)
		return err;
	if (key_is(w, "name")) {
		if (!config_name_ok(tmp))
			return "a name has letters, digits, '-', '_' and '.'";
		if (strcmp(tmp, "xylem") == 0)
			return "that is the hypervisor's own name";
		return take_value(w, g->name, sizeof(g->name));
	}
	if (key_is(w, "kind"))
		return take_value(w, g->kind, sizeof(g->kind));
	if (key_is(w, "kernel"))
		return take_value(w, g->kernel, sizeof(g->kernel));
	if (key_is(w, "initrd"))
		return take_value(w, g->initrd, sizeof(g->initrd));
	if (key_is(w, "vcpus")) {
		if (!parse_whole(tmp, 1, MAX_VCPUS, &v))
			return "not a number of vCPUs from 1 to 128";
		g->vcpus = (unsigned)v;
		return NULL;
	}
	if (key_is(w, "mem"))
		return config_parse_size(tmp, &g->mem_bytes) ? NULL : "not a size";
	if (key_is(w, "min"))
		return config_parse_size(tmp, &g->min_bytes) ? NULL : "not a size";
	if (key_is(w, "shares")) {
		if (!parse_whole(tmp, 1, POLICY_SHARES_MAX, &v))
			return "not a number of shares from 1 to 1000000";
		g->shares = (unsigned)v;
		return NULL;
	}
	if (key_is(w, "weight")) {
		if (!parse_whole(tmp, 1, MAX_WEIGHT, &v))
			return "not a weight from 1 to 65536";
		g->weight = (unsigned)v;
		return NULL;
	}
	if (key_is(w, "warp"))
		return parse_warp(tmp, g) ? NULL : "not off or warp_us:L_us:U_us";
	if (key_is(w, "pin"))
		return config_parse_pin(tmp, &g->pinned, &g->pin) ? NULL : "not all or 0-3+5";
	return "unknown word";
}

static uint32_t name_hash(const char *s, size_t len)
{
	uint32_t h = 2166136261u;

	while (len--)
		h = (h ^ (uint8_t)*s++) * 16777619u;
	return h;
}

static bool name_char(const struct config_reader *r, size_t at, char c)
{
	return at < r->len && r->text[at] == c;
}

/* Remember the name at text offset @at; false when it was there already or the table is full. */
static bool remember_name(struct config_reader *r, const char *name, size_t at)
{
	size_t len = strlen(name);
	uint32_t h = name_hash(name, len);

	for (unsigned i = 0; i < CONFIG_SEEN_SLOTS; i++) {
		uint32_t *slot = &r->seen[(h + i) % CONFIG_SEEN_SLOTS];
		size_t k;

		if (!*slot) {
			*slot = (uint32_t)at + 1;
			return true;
		}
		for (k = 0; k < len && name_char(r, *slot - 1 + k, name[k]); k++)
			;
		/* A remembered name ends where no name character follows. */
		if (k == len) {
			char tail[2] = {0, 0};

			if (*slot - 1 + k < r->len)
				tail[0] = r->text[*slot - 1 + k];
			if (!config_name_ok(tail))
				return false;
		}
	}
	return false;
}

static enum config_kind bad(struct config_item *item, enum config_kind kind, const char *key,
			    size_t key_len, const char *value, size_t value_len, const char *why)
{
	char word[64];
	size_t n = MIN(key_len, sizeof(word) - 1);

	memcpy(word, key, n);
	if (value && n + 1 < sizeof(word)) {
		size_t m = MIN(value_len, sizeof(word) - 2 - n);

		word[n++] = '=';
		memcpy(word + n, value, m);
		n += m;
	}
	word[n] = 0;
	for (char *p = word; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
	fmt_snprintf(item->error, sizeof(item->error), "line %u: %s: %s", item->line, word, why);
	return item->kind = kind;
}

static enum config_kind parse_set(struct line *l, struct config_item *item)
{
	struct word key, value, extra;
	size_t n;

	if (!next_word(l, &key) || !next_word(l, &value) || key.value || value.value)
		return bad(item, CONFIG_BAD_STATEMENT, "set", 3, NULL, 0,
			   "needs a key and a value");
	if (next_word(l, &extra))
		return bad(item, CONFIG_BAD_STATEMENT, extra.key, extra.key_len, NULL, 0,
			   "text after the value");
	n = MAX(key.key_len, value.key_len);
	if (n >= CONFIG_VALUE_MAX)
		return bad(item, CONFIG_BAD_STATEMENT, key.key, key.key_len, NULL, 0, "too long");
	memcpy(item->key, key.key, key.key_len);
	item->key[key.key_len] = 0;
	memcpy(item->value, value.key, value.key_len);
	item->value[value.key_len] = 0;
	return item->kind = CONFIG_SET;
}

static enum config_kind parse_guest(struct config_reader *r, struct line *l,
				    struct config_item *item)
{
	struct guest_config *g = &item->guest;
	struct word w, name = {0}, failed = {0};
	const char *err = NULL;

	g->vcpus = 1;
	g->mem_bytes = DEFAULT_MEM;
	g->min_bytes = CONFIG_DEFAULT;
	g->weight = DEFAULT_WEIGHT;
	g->line = item->line;
	/* On an error go on to the line's end, so that the error can be charged to the name. */
	while (next_word(l, &w)) {
		const char *e = set_field(g, &w);

		if (e && !err) {
			err = e;
			failed = w;
		}
		if (!e && key_is(&w, "name"))
			name = w;
		else if (e && key_is(&w, "name"))
			g->name[0] = 0;
	}
	if (name.key &&
	    !remember_name(r, g->name, (size_t)(name.value - r->text) + (*name.value == '"'))) {
		g->name[0] = 0; /* it belongs to the earlier guest */
		return bad(item, CONFIG_BAD_GUEST, name.key, name.key_len, name.value,
			   name.value_len, "name already used");
	}
	if (err)
		return bad(item, CONFIG_BAD_GUEST, failed.key, failed.key_len, failed.value,
			   failed.value_len, err);
	if (!g->name[0])
		return bad(item, CONFIG_BAD_GUEST, "guest", 5, NULL, 0, "has no name=");
	if (!g->kernel[0])
		return bad(item, CONFIG_BAD_GUEST, "guest", 5, NULL, 0, "has no kernel=");
	if (g->min_bytes != CONFIG_DEFAULT && g->min_bytes > g->mem_bytes)
		return bad(item, CONFIG_BAD_GUEST, "min", 3, NULL, 0, "is more than mem=");
	if (!g->kind[0])
		memcpy(g->kind, "pv", 3);
	return item->kind = CONFIG_GUEST;
}

void config_open(struct config_reader *r, const char *text, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->text = text;
	r->len = len;
}

enum config_kind config_next(struct config_reader *r, struct config_item *item)
{
	memset(item, 0, sizeof(*item));
	while (r->pos < r->len) {
		struct line l = {r->text + r->pos, r->text + r->pos};
		struct word w;

		while (r->pos < r->len && r->text[r->pos] != '\n' && r->text[r->pos] != 0)
			r->pos++;
		l.end = r->text + r->pos;
		/* A NUL ends the text: modules may be padded. */
		if (r->pos < r->len && r->text[r->pos] == 0)
			r->pos = r->len;
		else
			r->pos++;
		item->line = ++r->line;
		if (!next_word(&l, &w))
			continue;
		if (!w.value && key_is(&w, "guest"))
			return parse_guest(r, &l, item);
		if (!w.value && key_is(&w, "set"))
			return parse_set(&l, item);
		return bad(item, CONFIG_BAD_STATEMENT, w.key, w.key_len, w.value, w.value_len,
			   "unknown statement");
	}
	return item->kind = CONFIG_END;
}

const struct boot_module *boot_module_find(const struct boot_module *mods, unsigned n,
					   const char *id)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(mods[i].id, id) == 0)
			return &mods[i];
	return NULL;
}
