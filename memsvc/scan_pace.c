/* SPDX-License-Identifier: MIT */
/*
 * How fast the scanners go: a limit for all, one for each domain, and the CPU share.
 *
 * A limit is kept as the time before which no more may be taken. Taking n pages moves it on by the
 * time n pages should last, from no earlier than BURST_NS ago. Scanners look at it before a batch
 * and pay after, so some batches may be taken at once and are then waited for. One CAS per batch on
 * a line of the scanners' own; with no limit none.
 * Orders: all relaxed. The values are hints about time and protect nothing.
 */
#include "core/arch.h"
#include "core/lib.h"
#include "memsvc/scan_impl.h"
#include "percpu/pcpu.h"

#define BURST_NS (50 * NS_PER_MS)

static struct {
	_Atomic uint64_t rate; /* read by all, hardly ever written */
	_Atomic uint32_t percent;
	_Atomic uint32_t order;
	_Atomic uint64_t due_ns CACHE_ALIGNED;
} pace = {.rate = 5000, .percent = 25, .order = SCAN_RANDOM};

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static uint64_t due(uint64_t rate, const _Atomic uint64_t *due_ns)
{
	return rate == 0 ? TIME_NEVER : rate >= SCAN_RATE_MAX ? 0 : load(due_ns);
}

uint64_t scan_domain_rate(const struct scan_domain *sd)
{
	uint64_t r = load(&sd->rate);

	return r ? r - 1 : SCAN_RATE_MAX;
}

uint64_t scan_due(const struct scan_domain *sd)
{
	uint64_t at = due(load(&pace.rate), &pace.due_ns);

	return sd ? MAX(at, due(scan_domain_rate(sd), &sd->due_ns)) : at;
}

static void pay(uint64_t rate, _Atomic uint64_t *due_ns, uint64_t now, uint64_t units)
{
	uint64_t old = load(due_ns), from;
	CAS_LOOP(loop, "scanner's pace");

	if (rate == 0 || rate >= SCAN_RATE_MAX)
		return;
	do {
		from = MAX(old, now > BURST_NS ? now - BURST_NS : 0);
	} while (!atomic_compare_exchange_weak_explicit(
			 due_ns, &old, from + units * (NS_PER_SEC / SCAN_LOOKS_PER_PAGE) / rate,
			 memory_order_relaxed, memory_order_relaxed) &&
		 retry(&loop));
}

void scan_pay(struct scan_domain *sd, uint64_t now, uint64_t pages, uint64_t looks)
{
	uint64_t units = pages * SCAN_LOOKS_PER_PAGE + looks;

	pay(load(&pace.rate), &pace.due_ns, now, units);
	pay(scan_domain_rate(sd), &sd->due_ns, now, units);
}

/* Sleeping scanners wait for a time that may have come nearer. */
static void wake_all(void)
{
	for (unsigned i = 0; i < nr_pcpus(); i++)
		if (pcpu_get(i))
			arch_kick(i);
}

void scan_set_rate(uint64_t pages_per_s)
{
	atomic_store_explicit(&pace.rate, pages_per_s, memory_order_relaxed);
	atomic_store_explicit(&pace.due_ns, 0, memory_order_relaxed);
	wake_all();
}

uint64_t scan_rate(void)
{
	return load(&pace.rate);
}

void scan_set_cpu_percent(unsigned percent)
{
	atomic_store_explicit(&pace.percent, MAX(1, MIN(percent, 100)), memory_order_relaxed);
}

unsigned scan_cpu_percent(void)
{
	return atomic_load_explicit(&pace.percent, memory_order_relaxed);
}

void scan_set_order(enum scan_order order)
{
	atomic_store_explicit(&pace.order, order, memory_order_relaxed);
}

enum scan_order scan_order(void)
{
	return (enum scan_order)atomic_load_explicit(&pace.order, memory_order_relaxed);
}

void scan_set_domain_rate(struct scan_domain *sd, uint64_t pages_per_s)
{
	atomic_store_explicit(&sd->rate, MIN(pages_per_s, SCAN_RATE_MAX) + 1, memory_order_relaxed);
	atomic_store_explicit(&sd->due_ns, 0, memory_order_relaxed);
	wake_all();
}

bool scan_setting(const char *key, const char *value)
{
	uint64_t v;

	if (!strcmp(key, "rate")) {
		if (!strcmp(value, "max"))
			v = SCAN_RATE_MAX;
		else if (!str_decimal(value, &v) || v > SCAN_RATE_MAX)
			return false;
		scan_set_rate(v);
	} else if (!strcmp(key, "cpu")) {
		if (!str_decimal(value, &v) || v < 1 || v > 100)
			return false;
		scan_set_cpu_percent((unsigned)v);
	} else if (!strcmp(key, "order")) {
		bool random = !strcmp(value, "random");

		if (!random && strcmp(value, "sequential") != 0)
			return false;
		scan_set_order(random ? SCAN_RANDOM : SCAN_SEQUENTIAL);
	} else {
		return false;
	}
	return true;
}
