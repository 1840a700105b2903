/* SPDX-License-Identifier: MIT */
/*
 * All domains of a run: from the configuration module to the power-off. Guests are built by all
 * pCPUs at once, each taking the next one when it is done with the last; what became of each is
 * kept in a record. When the last domain has gone, pCPU 0 prints the table and ends the machine.
 */
#include "core/arch.h"
#include "core/builder.h"
#include "core/contention_report.h"
#include "core/control.h"
#include "core/create.h"
#include "core/domains.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "core/mem_stats.h"
#include "core/stats.h"
#include "core/xen_errno.h"
#include "memsvc/memctl.h"
#include "memsvc/scan.h"
#include "percpu/log.h"

#define BUILD_LATER_NS (10 * NS_PER_US) /* between two builds other work gets its turn */
#define BUILD_RETRY_NS (10 * NS_PER_MS) /* while others are made to give up memory */
#define BUILD_WAIT_NS (120 * NS_PER_SEC)
#define ENDED "ended on request"

/* One page for each guest to be built, freed after. */
struct build_job {
	struct guest_config guest;
	struct guest_record *record;
};
_Static_assert(sizeof(struct build_job) <= PAGE_SIZE, "a job is one page");

/* A pCPU that builds. */
struct build_worker {
	struct inbox_msg msg;
	struct timer again;
	struct build_job *job; /* it waits for memory to be free, until give_up_ns */
	uint64_t give_up_ns;
};

static struct config_reader reader;
static struct config_item item;

static struct {
	const struct boot_module *mods;
	unsigned nr_mods;
	struct guest_record *records; /* one per guest line, in their order */
	unsigned nr_records;
	struct build_job **jobs;
	unsigned nr_jobs;
	_Atomic unsigned next_job; /* claimed by fetch_add */
	/* What the machine's end waits for: jobs not done, and domains (domain_live_count()). */
	_Atomic unsigned jobs_left;
	_Atomic bool ended; /* the `q` command: build no more */
	const char *config; /* the configuration's text */
	size_t config_len;
	bool ending; /* pCPU 0's: the table is being printed */
	unsigned config_errors;
	char attach[CONFIG_VALUE_MAX];
	char control[CONFIG_VALUE_MAX];
	struct inbox_msg finish_msg;
	_Atomic bool finish_posted;
	unsigned table_at;
	struct timer finish_timer;
	struct build_worker workers[MAX_PCPUS];
} run;

/* ---- the end ---- */

static void finish_step(struct timer *t, uint64_t now)
{
	(void)t;
	if (run.table_at < run.nr_records) {
		log_flush();
		run.table_at = stats_table(run.records, run.nr_records, run.table_at);
		timer_arm(&run.finish_timer, now);
		return;
	}
	log_flush();
	unsigned status =
		stats_status(run.records, run.nr_records, run.config_errors + create_failures());

	mem_stats_end();
	contention_report_end();
	record_printf("{\"ev\":\"halt\",\"status\":%u,\"t_ns\":%lu,\"guests\":%u,"
		      "\"config_errors\":%u,\"leaked_frames\":%lu}",
		      status, (unsigned long)now, run.nr_records, run.config_errors,
		      (unsigned long)stats_leaks());
	printk("all domains have ended: power off with status %#x", status);
	log_flush();
	arch_poweroff(status);
}

/*
 * On pCPU 0, as domains_hold() is. One that came since the message was posted is seen here; its
 * release then sees the cleared flag and posts again.
 */
static void finish_message(struct inbox_msg *msg)
{
	(void)msg;
	atomic_store(&run.finish_posted, false);
	if (run.ending || atomic_load(&run.jobs_left) || domain_live_count())
		return;
	run.ending = true;
	timer_init(&run.finish_timer, finish_step);
	timer_arm(&run.finish_timer, arch_now_ns());
}

/* After a job is done, and after a domain is gone: who sees both counts zero posts the end. */
static void maybe_finish(void)
{
	if (atomic_load(&run.jobs_left) || domain_live_count())
		return;
	if (!atomic_exchange(&run.finish_posted, true)) {
		run.finish_msg.fn = finish_message;
		inbox_post(0, &run.finish_msg);
	}
}

bool domains_hold(void)
{
	if (run.ending)
		return false;
	atomic_fetch_add(&run.jobs_left, 1);
	return true;
}

void domains_release(void)
{
	atomic_fetch_sub(&run.jobs_left, 1);
	maybe_finish();
}

bool domains_ending(void)
{
	return atomic_load(&run.ended);
}

static void quit(void)
{
	if (atomic_exchange(&run.ended, true))
		return;
	printk("ending all domains on request");
	mem_stats_freeze();
	domains_end_all(END_KILLED, ENDED);
}

void domains_start(struct domain *d, struct guest_record *r)
{
	d->record = r;
	domain_start(d);
	/* Either the command's domains_end_all() finds it, or this sees the command. */
	if (domains_ending())
		domain_end(d, END_KILLED, ENDED);
}

/* ---- building ---- */

static void guest_failed(struct guest_record *r, enum domain_end how, const char *why)
{
	r->end = how;
	str_copy(r->reason, why, sizeof(r->reason));
	printk("guest %s %s: %s", r->name, domain_end_name(how), why);
	stats_end(r);
}

/* False: there is no memory for it now, and more is expected. */
static bool build(struct build_job *job, bool may_wait)
{
	struct guest_record *r = job->record;
	struct domain *d;
	char why[sizeof(r->reason)];
	int rc;

	if (domains_ending()) {
		guest_failed(r, END_KILLED, ENDED);
		return true;
	}
	rc = domain_build(&job->guest, (domid_t)(r - run.records + 1), run.mods, run.nr_mods, &d,
			  why, sizeof(why));
	if (rc == -XEN_EAGAIN && may_wait)
		return false;
	if (rc) {
		guest_failed(r, END_FAILED, why);
		return true;
	}
	d->control = strcmp(d->name, run.control) == 0;
	if (strcmp(d->name, run.attach) == 0)
		console_attach(d);
	domains_start(d, r);
	return true;
}

static void worker_step(struct timer *t, uint64_t now)
{
	struct build_worker *w = container_of(t, struct build_worker, again);

	if (!w->job) {
		unsigned i = atomic_fetch_add(&run.next_job, 1);

		if (i >= run.nr_jobs)
			return;
		w->job = run.jobs[i];
		run.jobs[i] = NULL;
		w->give_up_ns = now + BUILD_WAIT_NS;
	}
	if (!build(w->job, now < w->give_up_ns)) {
		timer_arm(t, arch_now_ns() + BUILD_RETRY_NS);
		return;
	}
	page_free(arch_virt_to_mfn(w->job));
	w->job = NULL;
	timer_arm(t, arch_now_ns() + BUILD_LATER_NS);
	domains_release();
}

static void worker_message(struct inbox_msg *msg)
{
	struct build_worker *w = container_of(msg, struct build_worker, msg);

	timer_init(&w->again, worker_step);
	timer_arm(&w->again, arch_now_ns());
}

int domains_build(const struct guest_config *g, struct domain **out, char *why, size_t why_len)
{
	return domain_build(g, 0, run.mods, run.nr_mods, out, why, why_len);
}

/* ---- configuration ---- */

const struct guest_config *domains_config(const char *name)
{
	enum config_kind kind;

	if (!run.config)
		return NULL;
	config_open(&reader, run.config, run.config_len);
	while ((kind = config_next(&reader, &item)) != CONFIG_END)
		if (kind == CONFIG_GUEST && strcmp(item.guest.name, name) == 0)
			return &item.guest;
	return NULL;
}

bool domains_configured(const char *name)
{
	for (unsigned n = 0; n < run.nr_records; n++)
		if (strcmp(run.records[n].name, name) == 0)
			return true;
	return false;
}

static void config_error(const char *text)
{
	run.config_errors++;
	printk("configuration: %s", text);
}

static void apply_setting(void)
{
	char text[CONFIG_ERROR_MAX];
	uint64_t v;

	if (strcmp(item.key, "attach") == 0) {
		str_copy(run.attach, item.value, sizeof(run.attach));
		return;
	}
	if (strcmp(item.key, "control") == 0) {
		str_copy(run.control, item.value, sizeof(run.control));
		return;
	}
	if (strcmp(item.key, "allowance_us") == 0 && str_decimal(item.value, &v) && v &&
	    v <= 1000000) {
		sched_set_allowance(v * NS_PER_US);
		return;
	}
	if (control_setting(item.key, item.value) == 0)
		return;
	fmt_snprintf(text, sizeof(text), "line %u: set %s %s: unknown key or bad value", item.line,
		     item.key, item.value);
	config_error(text);
}

static void add_guest(void)
{
	const struct guest_config *g = &item.guest;
	struct guest_record *r = &run.records[run.nr_records++];
	mfn_t page;

	str_copy(r->name, g->name, sizeof(r->name));
	str_copy(r->kind, g->kind, sizeof(r->kind));
	r->vcpus = g->vcpus;
	r->mem_kib = g->mem_bytes >> 10;
	if (item.kind == CONFIG_BAD_GUEST) {
		guest_failed(r, END_FAILED, item.error);
		return;
	}
	page = page_alloc(0);
	if (!mfn_valid_value(page)) {
		guest_failed(r, END_FAILED, "not enough host memory");
		return;
	}
	struct build_job *job = arch_mfn_to_virt(page);

	job->guest = *g;
	job->record = r;
	run.jobs[run.nr_jobs++] = job;
}

/* A zeroed table of @n entries that stays. */
static void *table(unsigned n, size_t size)
{
	uint64_t pages = DIV_ROUND_UP(MAX(n, 1) * size, PAGE_SIZE);
	mfn_t m = frames_alloc_contig(pages);

	if (!mfn_valid_value(m))
		panic("not enough memory for the tables of %u guests", n);
	return memset(arch_mfn_to_virt(m), 0, pages * PAGE_SIZE);
}

static void check_guest(const char *key, const char *name)
{
	char text[CONFIG_ERROR_MAX];

	if (!name[0] || domains_configured(name))
		return;
	fmt_snprintf(text, sizeof(text), "set %s: there is no such guest", key);
	config_error(text);
}

static void read_config(const char *text, size_t len)
{
	enum config_kind kind;
	unsigned n = 0;

	run.config = text;
	run.config_len = len;
	config_open(&reader, text, len);
	while (config_next(&reader, &item) != CONFIG_END)
		n += item.guest.name[0] != 0;
	n = MIN(n, MAX_DOMAINS);
	run.records = table(n, sizeof(*run.records));
	/* An array of pointers. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	run.jobs = table(n, sizeof(*run.jobs));
	domains_prepare(n);
	config_open(&reader, text, len);
	while ((kind = config_next(&reader, &item)) != CONFIG_END) {
		if (kind == CONFIG_SET)
			apply_setting();
		else if (kind == CONFIG_BAD_STATEMENT || !item.guest.name[0])
			config_error(item.error);
		else if (run.nr_records == MAX_DOMAINS)
			config_error("more guests than there are domain ids");
		else
			add_guest();
	}
	check_guest("attach", run.attach);
	check_guest("control", run.control);
}

void domains_boot(const struct boot_module *mods, unsigned n)
{
	const struct boot_module *m = boot_module_find(mods, n, CONFIG_MODULE);
	unsigned workers;

	memset(&run, 0, sizeof(run));
	run.mods = mods;
	run.nr_mods = n;
	domains_init();
	domain_set_empty_hook(maybe_finish);
	memctl_start();
	if (scan_init())
		printk("not enough memory for the sharing table: pages are not shared");
	create_start();
	control_start(quit);
	mem_stats_start();
	if (m)
		read_config(arch_mfn_to_virt(MFN(m->start >> PAGE_SHIFT)), m->size);
	else
		config_error("there is no module '" CONFIG_MODULE "'");
	if (run.attach[0])
		console_poll_start();
	atomic_store(&run.jobs_left, run.nr_jobs);
	workers = MIN(run.nr_jobs, nr_pcpus());
	for (unsigned i = 0; i < workers; i++) {
		run.workers[i].msg.fn = worker_message;
		inbox_post(i, &run.workers[i].msg);
	}
	maybe_finish();
}
