/* SPDX-License-Identifier: MIT */
/*
 * The end of a domain. domain_end() may be called by anyone, many times; the first records its
 * reason and stops all vCPUs. The last to have stopped sends the teardown to the domain's home
 * pCPU, where it goes on in steps from a timer, so that it never holds up that pCPU's guests.
 */
#include "core/arch.h"
#include "core/domain_impl.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "core/stats.h"
#include "core/vcpu_timer.h"
#include "memsvc/memctl.h"
#include "percpu/log.h"

#define TEARDOWN_BUDGET 1024		   /* names or tables in one step */
#define TEARDOWN_PAUSE_NS (50 * NS_PER_US) /* at least; and as long as the step itself took */

enum { TD_QUIET, TD_EVENTS, TD_CONSOLE, TD_GRACE, TD_VCPUS, TD_MEMORY, TD_RECORD, TD_DONE };

static const char *const end_names[] = {
	[END_NONE] = "running",	   [END_OFF] = "off",
	[END_REBOOT] = "rebooted", [END_SUSPEND] = "suspended",
	[END_CRASH] = "crashed",   [END_WATCHDOG] = "killed",
	[END_KILLED] = "killed",   [END_DESTROYED] = "destroyed",
	[END_FAILED] = "failed",
};

const char *domain_end_name(enum domain_end e)
{
	return e < ARRAY_SIZE(end_names) ? end_names[e] : "?";
}

/* ---- watchdogs ---- */

static void watchdog_set(struct domain *d)
{
	uint64_t next = TIME_NEVER;

	for (unsigned i = 0; i < DOMAIN_WATCHDOGS; i++) {
		uint64_t ns = atomic_load(&d->watchdog_ns[i]);

		if (ns)
			next = MIN(next, ns);
	}
	if (next == TIME_NEVER)
		timer_disarm(&d->watchdog_timer);
	else
		timer_arm(&d->watchdog_timer, next);
}

static void watchdog_fired(struct timer *t, uint64_t now)
{
	struct domain *d = container_of(t, struct domain, watchdog_timer);

	for (unsigned i = 0; i < DOMAIN_WATCHDOGS; i++) {
		uint64_t ns = atomic_load(&d->watchdog_ns[i]);

		if (ns && ns <= now) {
			domain_end(d, END_WATCHDOG, "its watchdog expired");
			return;
		}
	}
	watchdog_set(d); /* it was patted meanwhile */
}

static void watchdog_message(struct inbox_msg *msg)
{
	struct domain *d = container_of(msg, struct domain, watchdog_msg);

	/* A change from here on sends a new message. PAIRS: watchdog_msg */
	atomic_store(&d->watchdog_msg_busy, false);
	watchdog_set(d);
}

void domain_watchdog_changed(struct domain *d)
{
	/* The values were written before; they are read after the flag is cleared. PAIRS: watchdog_msg */
	if (!atomic_exchange(&d->watchdog_msg_busy, true))
		inbox_post(d->home_cpu, &d->watchdog_msg);
}

/* ---- teardown, on home_cpu ---- */

/* No message of the domain's own is on its way: its vCPUs, the only senders, have stopped. */
static bool messages_done(struct domain *d)
{
	for (unsigned i = 0; i < d->max_vcpus; i++)
		if (d->vcpu[i] && atomic_load(&d->vcpu[i]->ctl_msg_busy))
			return false;
	return !atomic_load(&d->watchdog_msg_busy);
}

/* After this no other pCPU holds a pointer to the domain, its vCPUs or its event channels. */
static void grace_over(struct rcu_head *head)
{
	struct domain *d = container_of(head, struct domain, rcu);

	d->teardown_step = TD_VCPUS;
	timer_arm(&d->teardown_timer, arch_now_ns());
}

/*
 * One step; returns how long to wait before the next, at least; TIME_NEVER when a callback goes
 * on. TD_VCPUS comes before TD_MEMORY because vCPUs hold base pointers.
 */
static uint64_t teardown_step(struct domain *d)
{
	switch (d->teardown_step) {
	case TD_QUIET:
		if (!messages_done(d))
			return CONSOLE_RETRY_NS;
		timer_disarm(&d->watchdog_timer);
		break;
	case TD_EVENTS:
		if (!evtchn_teardown(d))
			return CONSOLE_RETRY_NS;
		break;
	case TD_CONSOLE:
		if (!console_finish(d))
			return CONSOLE_RETRY_NS;
		break;
	case TD_GRACE:
		domain_hide(d);
		call_rcu_hurry(&d->rcu, grace_over);
		return TIME_NEVER;
	case TD_VCPUS:
		if (atomic_load(&d->end) != END_OFF)
			printk("guest %s %s%s%s", d->name, domain_end_name(atomic_load(&d->end)),
			       d->reason[0] ? ": " : "", d->reason);
		if (d->record)
			stats_collect(d->record, d);
		for (unsigned i = 0; i < d->max_vcpus; i++)
			if (d->vcpu[i])
				arch_vcpu_free(d->vcpu[i]);
		break;
	case TD_MEMORY:
		d->shared = NULL;
		memctl_domain_leave(d);
		if (!mm_teardown(&d->mm, TEARDOWN_BUDGET))
			return 0;
		break;
	case TD_RECORD:
		stats_check_leaks(d);
		if (d->record && !stats_end(d->record))
			return CONSOLE_RETRY_NS;
		if (d->record && d->record->gone)
			d->record->gone(d->record);
		d->record = NULL;
		break;
	}
	d->teardown_step++;
	return 0;
}

static void teardown_run(struct timer *t, uint64_t now)
{
	struct domain *d = container_of(t, struct domain, teardown_timer);
	uint64_t pause = teardown_step(d);
	uint64_t end = arch_now_ns();

	if (pause == TIME_NEVER)
		return;
	if (d->teardown_step != TD_DONE) {
		pause = MAX(pause, TEARDOWN_PAUSE_NS);
		timer_arm(t, end + MAX(pause, end - now));
		return;
	}
	atomic_store(&d->state, DOM_DEAD);
	domain_free(d);
}

static void teardown_message(struct inbox_msg *msg)
{
	struct domain *d = container_of(msg, struct domain, teardown_msg);

	atomic_store(&d->state, DOM_TEARDOWN);
	d->end_ns = arch_now_ns();
	timer_arm(&d->teardown_timer, arch_now_ns());
}

void domain_end_init(struct domain *d)
{
	timer_init(&d->watchdog_timer, watchdog_fired);
	timer_init(&d->teardown_timer, teardown_run);
	d->watchdog_msg.fn = watchdog_message;
	d->teardown_msg.fn = teardown_message;
}

/* ---- stopping ---- */

static void one_stopped(struct domain *d, unsigned n)
{
	/* Release what each vCPU did, acquire it all before the teardown. */
	if (atomic_fetch_sub(&d->live_vcpus, n) == n)
		inbox_post(d->home_cpu, &d->teardown_msg);
}

static void on_stopped(struct sched_unit *u)
{
	struct vcpu *v = vcpu_of_unit(u);

	vcpu_timer_stop(v);
	arch_vcpu_leave_pcpu(v);
	one_stopped(v->domain, 1);
}

void vcpu_stop(struct vcpu *v)
{
	sched_unit_stop(&v->unit, on_stopped);
}

void domain_end(struct domain *d, enum domain_end how, const char *why)
{
	uint32_t none = END_NONE;

	if (!atomic_compare_exchange_strong(&d->end, &none, how))
		return;
	/* Only this caller writes the reason; it is read after all vCPUs have stopped. */
	if (why)
		str_copy(d->reason, why, sizeof(d->reason));
	atomic_store(&d->state, DOM_STOPPING);
	/* Not the last one until all have been asked: d must stay while this loop runs. */
	atomic_fetch_add(&d->live_vcpus, 1);
	for (unsigned i = 0; i < d->max_vcpus; i++) {
		struct vcpu *v = d->vcpu[i];

		if (!v) { /* creation failed half-way */
			one_stopped(d, 1);
			continue;
		}
		switch (atomic_exchange(&v->starting, VS_STOP)) {
		case VS_OFF:
			one_stopped(d, 1);
			break;
		case VS_STARTED:
			vcpu_stop(v);
			break;
		default: /* VS_STARTING: its starter sees VS_STOP and stops it */
			break;
		}
	}
	one_stopped(d, 1);
}

void domain_crash(struct domain *d, const char *fmt, ...)
{
	char why[sizeof(d->reason)];
	va_list ap;

	va_start(ap, fmt);
	fmt_vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	domain_end(d, END_KILLED, why);
}

void domain_destroy(struct domain *d)
{
	domain_end(d, END_FAILED, NULL);
}
