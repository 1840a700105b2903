/* SPDX-License-Identifier: MIT */
#include "core/control.h"

#include "core/arch.h"
#include "core/contention_report.h"
#include "core/create.h"
#include "core/domains.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "core/mem_stats.h"
#include "core/xen_errno.h"
#include "memsvc/memctl.h"
#include "memsvc/scan.h"
#include "percpu/log.h"

#define POLL_NS (100 * NS_PER_MS)
#define POLL_BUSY_NS (2 * NS_PER_MS) /* while a line is coming in: a UART holds 16 bytes */
#define LINE_MAX 240
#define WORDS_MAX (LINE_MAX / 2) /* as many as fit a line */
#define ERROR_MAX 160
#define NO_GUEST "%s: no guest that runs is called '%s'"

/* pCPU 0's. */
static struct {
	struct timer timer;
	void (*quit)(void);
	unsigned len;  /* of the line so far; LINE_MAX: too long */
	bool answered; /* answer[] was sent, or another will answer */
	char line[LINE_MAX + 1];
	char answer[2 * ERROR_MAX + 80];
} ctl;

struct command {
	const char *name;
	uint32_t what; /* XYLEM_SET_* */
	bool domain;   /* takes a guest's name first */
};

static const struct command commands[] = {
	{"balloon", XYLEM_SET_balloon, true},
	{"shares", XYLEM_SET_shares, true},
	{"min", XYLEM_SET_min, true},
	{"scan-rate", XYLEM_SET_scan_rate, true},
	{"scan-rate", XYLEM_SET_scan_rate_all, false},
	{"tax", XYLEM_SET_tax, false},
	{"mem-period", XYLEM_SET_record_ms, false},
};

/* ---- settings ---- */

int control_setting(const char *key, const char *value)
{
	uint64_t v;
	int rc = memctl_set(key, value);

	if (rc == -XEN_ENOENT && strncmp(key, "share.", 6) == 0)
		rc = scan_setting(key + 6, value) ? 0 : -XEN_EINVAL;
	if (rc == -XEN_ENOENT && strcmp(key, "mem.record_ms") == 0)
		rc = str_decimal(value, &v) ? mem_stats_set_period(v) : -XEN_EINVAL;
	if (rc == -XEN_ENOENT && strcmp(key, "profile.locks") == 0) {
		rc = str_decimal(value, &v) && v <= 1 ? 0 : -XEN_EINVAL;
		if (!rc)
			contention_report_at_end(v);
	}
	return rc;
}

static int apply_to_domain(const struct xylem_control *c, struct domain *d)
{
	switch (c->what) {
	case XYLEM_SET_balloon:
		return memctl_set_balloon(d, c->value);
	case XYLEM_SET_shares:
		return memctl_set_shares(d, c->value);
	case XYLEM_SET_min:
		return memctl_set_min(d, c->value);
	default:
		if (c->value > SCAN_RATE_MAX)
			return -XEN_EINVAL;
		scan_set_domain_rate(&d->scan, c->value);
		return 0;
	}
}

int control_apply(const struct xylem_control *c)
{
	struct domain *d;

	switch (c->what) {
	case XYLEM_SET_balloon:
	case XYLEM_SET_shares:
	case XYLEM_SET_min:
	case XYLEM_SET_scan_rate:
		d = c->domid <= MAX_DOMAINS ? domain_by_id((domid_t)c->domid) : NULL;
		return d ? apply_to_domain(c, d) : -XEN_ESRCH;
	case XYLEM_SET_tax:
		return memctl_set_tax(c->value);
	case XYLEM_SET_scan_rate_all:
		if (c->value > SCAN_RATE_MAX)
			return -XEN_EINVAL;
		scan_set_rate(c->value);
		return 0;
	case XYLEM_SET_record_ms:
		return mem_stats_set_period(c->value);
	default:
		return -XEN_EINVAL;
	}
}

/* ---- one line ---- */

static unsigned split(char *line, char *words[WORDS_MAX])
{
	unsigned n = 0;

	while (n < WORDS_MAX) {
		while (*line == ' ')
			line++;
		if (!*line)
			break;
		words[n++] = line;
		while (*line && *line != ' ')
			line++;
		if (*line)
			*line++ = 0;
	}
	return n;
}

static void set_error(char *error, int rc, const char *command, const char *word)
{
	const char *why = rc == -XEN_EINVAL   ? "is out of range"
			  : rc == -XEN_ENOMEM ? "is more than can be promised"
			  : rc == -XEN_ENOENT ? "is not known"
			  : rc == -XEN_ESRCH  ? "has ended"
					      : "was refused";

	fmt_snprintf(error, ERROR_MAX, "%s: '%s' %s", command, word, why);
}

/* "set KEY VALUE" */
static void set_command(char *words[], unsigned n, char *error)
{
	int rc;

	if (n != 3) {
		fmt_snprintf(error, ERROR_MAX, "set: write set KEY VALUE");
		return;
	}
	rc = control_setting(words[1], words[2]);
	if (rc)
		set_error(error, rc, "set", rc == -XEN_ENOENT ? words[1] : words[2]);
}

/* "say NAME WORD": a line typed at the guest's console. */
static void say_command(char *words[], unsigned n, char *error)
{
	struct domain *d = n == 3 ? domain_by_name(words[1]) : NULL;
	char text[LINE_MAX + 2];
	size_t len;

	if (n != 3) {
		fmt_snprintf(error, ERROR_MAX, "say: write say NAME WORD");
		return;
	}
	if (!d) {
		fmt_snprintf(error, ERROR_MAX, NO_GUEST, "say", words[1]);
		return;
	}
	len = (size_t)fmt_snprintf(text, sizeof(text), "%s\n", words[2]);
	if (console_input(d, text, len) < len)
		fmt_snprintf(error, ERROR_MAX, "say: the console of '%s' has no room", words[1]);
}

static void run_command(const struct command *c, char *words[], char *error)
{
	const char *number = words[c->domain ? 2 : 1];
	struct xylem_control op = {.what = c->what};
	int rc;

	if (c->domain) {
		struct domain *d = domain_by_name(words[1]);

		if (!d) {
			fmt_snprintf(error, ERROR_MAX, NO_GUEST, c->name, words[1]);
			return;
		}
		op.domid = d->id;
	}
	if (c->what == XYLEM_SET_balloon && strcmp(number, "auto") == 0) {
		op.value = XYLEM_BALLOON_AUTO;
	} else if (!str_decimal(number, &op.value)) {
		fmt_snprintf(error, ERROR_MAX, "%s: '%s' is not a number", c->name, number);
		return;
	}
	rc = control_apply(&op);
	if (rc)
		set_error(error, rc, c->name, rc == -XEN_ESRCH ? words[1] : number);
}

/* "pin NAME all|0-3+5" */
static void pin_command(char *words[], char *error)
{
	struct domain *d = domain_by_name(words[1]);
	struct sched_params params;
	bool some;

	if (!d) {
		fmt_snprintf(error, ERROR_MAX, NO_GUEST, "pin", words[1]);
		return;
	}
	params = d->sched;
	if (!config_parse_pin(words[2], &some, &params.pin)) {
		fmt_snprintf(error, ERROR_MAX, "pin: '%s' is not a set of pCPUs", words[2]);
		return;
	}
	if (!some)
		params.pin = CPUMASK_ALL;
	if (domain_set_sched(d, &params))
		fmt_snprintf(error, ERROR_MAX, "pin: %s: a change is under way", words[1]);
}

/* create, destroy, pin, locks and set. True: @words were one of them; *@later: it answers itself. */
static bool own_syntax(uint64_t id, char *words[], unsigned n, char *error, bool *later)
{
	char why[ERROR_MAX - 16];

	if (strcmp(words[0], "set") == 0) {
		set_command(words, n, error);
	} else if (strcmp(words[0], "create") == 0 && n >= 3) {
		*later =
			!create_request(id, words[1], words[2], words + 3, n - 3, why, sizeof(why));
		if (!*later)
			fmt_snprintf(error, ERROR_MAX, "create: %s", why);
	} else if (strcmp(words[0], "destroy") == 0 && n == 2) {
		if (create_destroy(words[1]))
			fmt_snprintf(error, ERROR_MAX, NO_GUEST, words[0], words[1]);
	} else if (strcmp(words[0], "pin") == 0 && n == 3) {
		pin_command(words, error);
	} else if (strcmp(words[0], "locks") == 0 && n == 1) {
		*later = contention_report_ask(id);
		if (!*later)
			fmt_snprintf(error, ERROR_MAX, "locks: a report is being written");
	} else {
		return false;
	}
	return true;
}

static bool is_own(const char *word)
{
	return strcmp(word, "create") == 0 || strcmp(word, "destroy") == 0 ||
	       strcmp(word, "pin") == 0 || strcmp(word, "locks") == 0;
}

static void dispatch(uint64_t id, char *words[], unsigned n, char *error, bool *later)
{
	bool known = n && is_own(words[0]);

	if (n && own_syntax(id, words, n, error, later))
		return;
	if (n && strcmp(words[0], "say") == 0) {
		say_command(words, n, error);
		return;
	}
	for (unsigned i = 0; n && i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (strcmp(words[0], c->name) != 0)
			continue;
		known = true;
		if (n != (c->domain ? 3 : 2))
			continue;
		run_command(c, words, error);
		return;
	}
	if (!n)
		fmt_snprintf(error, ERROR_MAX, "a command is missing");
	else if (!known)
		fmt_snprintf(error, ERROR_MAX, "unknown command '%s'", words[0]);
	else
		fmt_snprintf(error, ERROR_MAX, "%s: wrong number of words", words[0]);
}

static void write_answer(uint64_t id, const char *error, char *answer, size_t size)
{
	char text[2 * ERROR_MAX];

	if (!error[0])
		fmt_snprintf(answer, size, "{\"ev\":\"ctl\",\"id\":%lu,\"ok\":true}",
			     (unsigned long)id);
	else
		fmt_snprintf(answer, size,
			     "{\"ev\":\"ctl\",\"id\":%lu,\"ok\":false,\"error\":\"%s\"}",
			     (unsigned long)id, log_json_escape(text, sizeof(text), error));
}

void control_line(char *line, char *answer, size_t size)
{
	char *words[WORDS_MAX], error[ERROR_MAX] = "";
	unsigned n = split(line, words);
	uint64_t id = 0;
	bool later = false;

	if (!n || !str_decimal(words[0], &id))
		fmt_snprintf(error, sizeof(error), "'%s' is not an id", n ? words[0] : "");
	else
		dispatch(id, words + 1, n - 1, error, &later);
	if (later)
		answer[0] = 0;
	else
		write_answer(id, error, answer, size);
}

/* ---- the stream ---- */

static void line_done(void)
{
	const char *words = ctl.line + 4;
	uint64_t id;

	ctl.line[ctl.len] = 0;
	if (strcmp(ctl.line, "q") == 0) {
		ctl.quit();
		return;
	}
	if (strncmp(ctl.line, "ctl ", 4) != 0)
		return;
	if (ctl.len < LINE_MAX)
		control_line(ctl.line + 4, ctl.answer, sizeof(ctl.answer));
	else if (str_u64(&words, &id) && *words == ' ')
		write_answer(id, "the line is too long", ctl.answer, sizeof(ctl.answer));
	else
		return;
	ctl.answered = !ctl.answer[0];
}

/* An answer is lost to nothing: the next command waits until it is out. */
static bool answer_out(void)
{
	if (!ctl.answered)
		ctl.answered = record_printf("%s", ctl.answer);
	return ctl.answered;
}

static void stream_poll(struct timer *t, uint64_t now)
{
	int c;

	while (answer_out() && (c = arch_console_read(1)) >= 0) {
		if (c == '\n') {
			line_done();
			ctl.len = 0;
		} else if (c != '\r' && ctl.len < LINE_MAX) {
			ctl.line[ctl.len++] = c < ' ' || c > '~' ? '?' : (char)c;
		}
	}
	timer_arm(t, now + (ctl.len || !ctl.answered ? POLL_BUSY_NS : POLL_NS));
}

void control_start(void (*quit)(void))
{
	ctl.quit = quit;
	ctl.answered = true;
	timer_init(&ctl.timer, stream_poll);
	timer_arm(&ctl.timer, arch_now_ns() + POLL_NS);
}
