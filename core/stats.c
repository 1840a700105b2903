/* SPDX-License-Identifier: MIT */
#include "core/stats.h"

#include "core/arch.h"
#include "core/lib.h"
#include "percpu/log.h"

#define TABLE_CHUNK 32 /* lines that surely fit a log ring together */

static _Atomic uint64_t leaked_frames;

void stats_start(const struct domain *d)
{
	char name[80], kind[40];

	/* The `end` record repeats it all, so losing this line to a full ring costs nothing. */
	record_printf(
		"{\"ev\":\"start\",\"guest\":\"%s\",\"domid\":%u,\"kind\":\"%s\",\"vcpus\":%u,"
		"\"mem_kib\":%lu,\"t_ns\":%lu}",
		log_json_escape(name, sizeof(name), d->name), d->id,
		log_json_escape(kind, sizeof(kind), d->kind), d->max_vcpus,
		(unsigned long)(d->mm.max_pages << (PAGE_SHIFT - 10)), (unsigned long)d->start_ns);
}

void stats_collect(struct guest_record *r, const struct domain *d)
{
	r->end = (enum domain_end)atomic_load(&d->end);
	str_copy(r->reason, d->reason, sizeof(r->reason));
	r->domid = d->id;
	r->start_ns = d->start_ns;
	r->end_ns = d->end_ns;
	r->cpu_ns = r->events = r->hypercalls = 0;
	for (unsigned i = 0; i < d->max_vcpus; i++) {
		const struct vcpu *v = d->vcpu[i];

		if (!v)
			continue;
		r->cpu_ns += sched_cpu_ns(&v->unit);
		r->events += v->cnt.events;
		r->hypercalls += v->cnt.hypercalls;
	}
}

bool stats_end(const struct guest_record *r)
{
	char name[80], kind[40], reason[200];

	return record_printf("{\"ev\":\"end\",\"guest\":\"%s\",\"domid\":%u,\"kind\":\"%s\","
			     "\"state\":\"%s\",\"reason\":\"%s\",\"vcpus\":%u,\"mem_kib\":%lu,"
			     "\"start_ns\":%lu,\"end_ns\":%lu,\"cpu_ns\":%lu,\"events\":%lu,"
			     "\"hypercalls\":%lu}",
			     log_json_escape(name, sizeof(name), r->name), r->domid,
			     log_json_escape(kind, sizeof(kind), r->kind), domain_end_name(r->end),
			     log_json_escape(reason, sizeof(reason), r->reason), r->vcpus,
			     (unsigned long)r->mem_kib, (unsigned long)r->start_ns,
			     (unsigned long)r->end_ns, (unsigned long)r->cpu_ns,
			     (unsigned long)r->events, (unsigned long)r->hypercalls);
}

void stats_check_leaks(const struct domain *d)
{
	struct mm_stats s;
	int64_t held = 0;

	mm_stats(&d->mm, &s);
	for (unsigned i = 0; i < MMK_KINDS; i++)
		held += s.frames[i] < 0 ? -s.frames[i] : s.frames[i];
	if (!held)
		return;
	atomic_fetch_add(&leaked_frames, (uint64_t)held);
	printk("error: %s (domain %u) did not give back %ld frames: data %ld special %ld "
	       "tables %ld meta %ld retired %ld",
	       d->name, d->id, (long)held, (long)s.frames[MMK_DATA], (long)s.frames[MMK_SPECIAL],
	       (long)s.frames[MMK_HWTABLE], (long)s.frames[MMK_META], (long)s.frames[MMK_RETIRED]);
}

uint64_t stats_leaks(void)
{
	return atomic_load(&leaked_frames);
}

static void seconds(uint64_t ns, unsigned long *s, unsigned long *ms)
{
	*s = ns / NS_PER_SEC;
	*ms = ns % NS_PER_SEC / NS_PER_MS;
}

static void table_row(const struct guest_record *r)
{
	unsigned long run_s, run_ms, cpu_s, cpu_ms;

	seconds(r->end_ns - r->start_ns, &run_s, &run_ms);
	seconds(r->cpu_ns, &cpu_s, &cpu_ms);
	printk("%-16s %-8s %-9s %5u %6lu %5lu.%03lu %5lu.%03lu %10lu %12lu%s%s", r->name, r->kind,
	       domain_end_name(r->end), r->vcpus, (unsigned long)(r->mem_kib / 1024), run_s, run_ms,
	       cpu_s, cpu_ms, (unsigned long)r->events, (unsigned long)r->hypercalls,
	       r->reason[0] ? "  " : "", r->reason);
}

unsigned stats_table(const struct guest_record *r, unsigned n, unsigned from)
{
	unsigned end = MIN(n, from + TABLE_CHUNK);

	if (from == 0)
		printk("%-16s %-8s %-9s %5s %6s %9s %9s %10s %12s", "guest", "kind", "state",
		       "vcpus", "MiB", "run s", "cpu s", "events", "hypercalls");
	for (; from < end; from++)
		table_row(&r[from]);
	return end;
}

unsigned stats_status(const struct guest_record *r, unsigned n, unsigned config_errors)
{
	if (config_errors || stats_leaks())
		return POWEROFF_FAILED;
	for (unsigned i = 0; i < n; i++)
		if (r[i].end != END_OFF && r[i].end != END_DESTROYED)
			return POWEROFF_FAILED;
	return POWEROFF_OK;
}
