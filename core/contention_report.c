/* SPDX-License-Identifier: MIT */
#include "core/contention_report.h"

#include "core/arch.h"
#include "core/fmt.h"
#include "percpu/log.h"
#include "percpu/pcpu.h"

#define ROWS_LEN 1000 /* of a line */
#define ROW_LEN 280   /* the longest row: 4 numbers of 20 digits, CALLER_DEPTH addresses */
#define PAUSE_NS (500 * NS_PER_US)
#define RETRY_NS (5 * NS_PER_MS)
#define UL(x) ((unsigned long)(x))

enum part { BEGIN, SITES, CALLS, ROWS, END, ANSWER, NOTHING };

/* pCPU 0's, but for at_end. */
static struct {
	_Atomic bool at_end;
	struct timer timer;
	bool ready; /* the timer is */
	enum part part;
	unsigned cpu, at; /* where the part goes on */
	uint64_t id;	  /* of the command */
} report = {.part = NOTHING};

static const char *const kinds[] = {"cas", "wait"};

static int call_row(char *buf, const struct contention *c, unsigned i)
{
	struct contention_counts n;
	uintptr_t pc[CALLER_DEPTH];
	int site = contention_caller(c, i, &n, pc), len;

	if (site < 0)
		return 0;
	len = fmt_snprintf(buf, ROW_LEN, "[%d,%lu,%lu,%lu,[", site, UL(n.contended), UL(n.retries),
			   UL(n.wait));
	for (unsigned k = 0; k < CALLER_DEPTH && pc[k]; k++)
		len += fmt_snprintf(buf + len, (size_t)(ROW_LEN - len), "%s%lu", k ? "," : "",
				    UL(pc[k]));
	return len + fmt_snprintf(buf + len, (size_t)(ROW_LEN - len), "]]");
}

static int slot_row(char *buf, const struct contention *c, unsigned i)
{
	struct contention_counts n;

	contention_read(c, i, &n);
	if (!n.ops)
		return 0;
	return fmt_snprintf(buf, ROW_LEN, "[%u,%lu,%lu,%lu,%lu]", i, UL(n.ops), UL(n.contended),
			    UL(n.retries), UL(n.wait));
}

/* One line of rows of the part. False when the stream has no room. */
static bool rows_out(const struct contention *c)
{
	unsigned i = report.at, n = report.part == CALLS ? MAX_CALLERS : nr_sites();
	char rows[ROWS_LEN];
	size_t len = 0;

	for (; i < n && len + ROW_LEN + 1 < sizeof(rows); i++) {
		size_t from = len ? len + 1 : 0;
		int more = report.part == CALLS ? call_row(rows + from, c, i)
						: slot_row(rows + from, c, i);

		if (!more)
			continue;
		if (len)
			rows[len] = ',';
		len = from + (size_t)more;
	}
	if (len && !record_printf("{\"ev\":\"locks\",\"cpu\":%u,\"%s\":[%.*s]}", report.cpu,
				  report.part == CALLS ? "calls" : "rows", (int)len, rows))
		return false;
	report.at = i;
	if (i == n) {
		report.at = 0;
		report.part = report.part == CALLS ? ROWS : CALLS;
		report.cpu += report.part == CALLS;
	}
	return true;
}

static bool site_out(const struct contention_site *s)
{
	return record_printf("{\"ev\":\"locks\",\"site\":[%u,\"%s\",\"%s\",\"%s\",%u,\"%s\"]}",
			     report.at, kinds[s->kind], s->name, s->file, s->line, s->function);
}

/* The next line. False when the stream has no room for it. */
static bool step(void)
{
	struct pcpu *p;
	bool out = true;

	switch (report.part) {
	case BEGIN:
		out = record_printf("{\"ev\":\"locks\",\"begin\":%lu}", UL(arch_now_ns()));
		if (out)
			report.part = nr_sites() ? SITES : END;
		break;
	case SITES:
		out = site_out(&__start_xylem_sites[report.at]);
		if (out && ++report.at == nr_sites()) {
			report.at = report.cpu = 0;
			report.part = CALLS;
		}
		break;
	case CALLS:
	case ROWS:
		if (report.cpu == nr_pcpus()) {
			report.part = END;
			break;
		}
		p = pcpu_get(report.cpu);
		if (p)
			out = rows_out(&p->contention);
		else
			report.cpu++;
		break;
	case END:
		out = record_printf("{\"ev\":\"locks\",\"end\":{\"t_ns\":%lu,\"tsc_hz\":%lu,"
				    "\"pcpus\":%u}}",
				    UL(arch_now_ns()), UL(arch_tsc_hz()), nr_pcpus());
		if (out)
			report.part = ANSWER;
		break;
	case ANSWER:
		out = record_printf("{\"ev\":\"ctl\",\"id\":%lu,\"ok\":true,\"locks\":true}",
				    UL(report.id));
		if (out)
			report.part = NOTHING;
		break;
	case NOTHING:
		break;
	}
	return out;
}

static void begin(uint64_t id)
{
	report.part = BEGIN;
	report.cpu = report.at = 0;
	report.id = id;
}

static void tick(struct timer *t, uint64_t now)
{
	bool room = step();

	(void)now;
	if (report.part != NOTHING)
		timer_arm(t, arch_now_ns() + (room ? PAUSE_NS : RETRY_NS));
}

void contention_report_at_end(bool on)
{
	atomic_store(&report.at_end, on);
}

bool contention_report_ask(uint64_t id)
{
	if (report.part != NOTHING)
		return false;
	if (!report.ready)
		timer_init(&report.timer, tick);
	report.ready = true;
	begin(id);
	timer_arm(&report.timer, arch_now_ns());
	return true;
}

void contention_report_end(void)
{
	/* One that was asked for is finished first, so that nobody waits for its answer. */
	while (report.part != NOTHING)
		if (!step())
			log_flush();
	if (!atomic_load(&report.at_end))
		return;
	begin(0);
	while (report.part != ANSWER)
		if (!step())
			log_flush();
	report.part = NOTHING;
}
