/* SPDX-License-Identifier: MIT */
/* Settings, admission and figures of the memory controller; see memctl.h. */
#include "memsvc/memctl.h"

#include "core/arch.h"
#include "core/domain.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/memctl_impl.h"
#include "memsvc/p2m.h"

#define ENDS_APART_NS (3 * NS_PER_SEC)
#define ROOM_ASKED_NS (200 * NS_PER_MS)

struct memctl memctl = {
	.tax = POLICY_TAX_DEFAULT,
	.period_ns = 250 * NS_PER_MS,
	.sample_ns = 30 * NS_PER_SEC,
	.sample_pages = 100,
	.balloon_wait_ns = 3 * NS_PER_SEC,
	.swap = 1,
	.swap_reserve = 5,
};

static uint64_t get(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

/* ---- settings ---- */

static const struct setting {
	const char *key;
	_Atomic uint64_t *value;
	uint64_t unit, min, max;
} settings[] = {
	{"mem.tax", &memctl.tax, 1, 0, 100},
	{"mem.period_ms", &memctl.period_ns, NS_PER_MS, 1, 60000},
	{"mem.sample_ms", &memctl.sample_ns, NS_PER_MS, 10, 3600000},
	{"mem.sample_pages", &memctl.sample_pages, 1, 1, SAMPLE_MAX},
	{"mem.balloon_wait_ms", &memctl.balloon_wait_ns, NS_PER_MS, 0, 3600000},
	{"mem.swap", &memctl.swap, 1, 0, 1},
	{"mem.swap_reserve", &memctl.swap_reserve, 1, 0, 90},
};

int memctl_set(const char *key, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const struct setting *s = &settings[i];
		uint64_t v;

		if (strcmp(key, s->key) != 0)
			continue;
		if (!str_decimal(value, &v) || v < s->min || v > s->max)
			return -XEN_EINVAL;
		atomic_store(s->value, v * s->unit);
		return 0;
	}
	return -XEN_ENOENT;
}

int memctl_set_tax(uint64_t percent)
{
	if (percent > 100)
		return -XEN_EINVAL;
	atomic_store(&memctl.tax, percent);
	return 0;
}

int memctl_set_shares(struct domain *d, uint64_t shares)
{
	if (shares < 1 || shares > POLICY_SHARES_MAX || !d->memctl.max)
		return -XEN_EINVAL;
	atomic_store(&d->memctl.shares, (uint32_t)shares);
	return 0;
}

int memctl_set_balloon(struct domain *d, uint64_t pages)
{
	struct memctl_dom *m = &d->memctl;

	if (!m->max || (pages != MEMCTL_BALLOON_AUTO && pages > m->max - get(&m->min)))
		return -XEN_EINVAL;
	atomic_store(&m->balloon_manual, pages);
	memctl_look();
	return 0;
}

/* ---- admission ---- */

uint64_t memctl_admissible(void)
{
	uint64_t total = frames_total(), kept = policy_mark(MEM_HIGH, total) + memctl.own;

	kept += total * get(&memctl.swap_reserve) / 100;
	return total > kept ? total - kept : 0;
}

static bool commit(uint64_t frames)
{
	uint64_t old = atomic_load(&memctl.committed), most = memctl_admissible();
	CAS_LOOP(loop, "memory promised");

	do {
		if (frames > most || old > most - frames)
			return false;
	} while (!atomic_compare_exchange_weak(&memctl.committed, &old, old + frames) &&
		 retry(&loop));
	return true;
}

static unsigned long mib(uint64_t frames)
{
	return (unsigned long)(frames >> (20 - PAGE_SHIFT));
}

int memctl_admit(uint64_t max, uint64_t min, unsigned vcpus, uint64_t *charge, char *why,
		 size_t why_len)
{
	uint64_t overhead = policy_overhead(max, vcpus), used, most;

	*charge = min + overhead;
	if (commit(*charge))
		return 0;
	used = atomic_load(&memctl.committed);
	most = memctl_admissible();
	fmt_snprintf(
		why, why_len,
		"not enough host memory: %lu MiB minimum and %lu MiB overhead, %lu MiB are left",
		mib(min), mib(overhead + 255), mib(most > used ? most - used : 0));
	return -XEN_ENOMEM;
}

void memctl_unadmit(uint64_t charge)
{
	atomic_fetch_sub(&memctl.committed, charge);
}

int memctl_set_min(struct domain *d, uint64_t pages)
{
	struct memctl_dom *m = &d->memctl;
	uint64_t old = atomic_load(&m->min);
	CAS_LOOP(loop, "guest's minimum");

	if (pages > m->max)
		return -XEN_EINVAL;
	do {
		if (pages > old && !commit(pages - old))
			return -XEN_ENOMEM;
		if (atomic_compare_exchange_strong(&m->min, &old, pages))
			break;
		if (pages > old)
			memctl_unadmit(pages - old);
	} while (retry(&loop));
	if (pages < old)
		memctl_unadmit(old - pages);
	return 0;
}

void memctl_domain_init(struct domain *d, uint64_t max, uint64_t min, uint32_t shares,
			uint64_t charge)
{
	struct memctl_dom *m = &d->memctl;

	m->overhead = charge - min;
	atomic_store(&m->min, min);
	atomic_store(&m->shares, shares);
	atomic_store(&m->balloon_manual, MEMCTL_BALLOON_AUTO);
	atomic_store(&m->target, max);
	atomic_store(&m->active, POLICY_ONE);
	m->max = max;
}

void memctl_domain_done(struct domain *d)
{
	struct memctl_dom *m = &d->memctl;

	if (!m->max)
		return;
	memctl_unadmit(m->overhead + atomic_load(&m->min));
	m->max = 0;
}

bool memctl_reserve(uint64_t pages)
{
	uint64_t total = frames_total(), free = frames_free_count(), old;
	uint64_t keep = policy_mark(MEM_SOFT, total);
	CAS_LOOP(loop, "memory reserved for building");

	if (atomic_load(&memctl.squeezed))
		keep = 0; /* waiting would not help */
	old = atomic_load(&memctl.reserved);
	do {
		if (free < old + pages + keep) {
			atomic_store(&memctl.room_wanted, pages);
			atomic_store(&memctl.room_until_ns, arch_now_ns() + ROOM_ASKED_NS);
			memctl_look();
			return false;
		}
	} while (!atomic_compare_exchange_weak(&memctl.reserved, &old, old + pages) &&
		 retry(&loop));
	return true;
}

void memctl_unreserve(uint64_t pages)
{
	atomic_fetch_sub(&memctl.reserved, pages);
}

/* ---- figures ---- */

bool memctl_balloon_bound(struct domain *d)
{
	return atomic_load_explicit(&d->vcpu[0]->evt.virq[VIRQ_ARCH_0], memory_order_relaxed) != 0;
}

uint64_t memctl_balloon_target(struct domain *d)
{
	return get(&d->memctl.balloon_target);
}

uint64_t memctl_count(const struct mm *mm, enum mm_kind k)
{
	int64_t n = mm_sum(mm, k);

	return n > 0 ? (uint64_t)n : 0; /* a sum of shards in motion may dip below */
}

void memctl_stats_of(struct domain *d, struct memctl_stats *out)
{
	struct memctl_dom *m = &d->memctl;

	*out = (struct memctl_stats){
		.min = get(&m->min),
		.max = m->max,
		.shares = atomic_load_explicit(&m->shares, memory_order_relaxed),
		.allocated = memctl_count(&d->mm, MMK_DATA),
		.sharing = memctl_count(&d->mm, MMN_SHARING),
		.swapped = memctl_count(&d->mm, MMN_SWAPPED),
		.ballooned = memctl_count(&d->mm, MMN_GONE),
		.target = get(&m->target),
		.balloon_target = get(&m->balloon_target),
		.balloon_manual = get(&m->balloon_manual) != MEMCTL_BALLOON_AUTO,
		.balloon_driver = memctl_balloon_bound(d),
		.waits = memctl_must_wait(d),
	};
	out->active_pages = (out->allocated + out->sharing) * get(&m->active) / POLICY_ONE;
}

void memctl_host_stats(struct memctl_host_stats *out)
{
	uint64_t total = frames_total();

	*out = (struct memctl_host_stats){
		.state = atomic_load(&memctl.state),
		.tax = (unsigned)get(&memctl.tax),
		.frames = total,
		.free = frames_free_count(),
		.committed = get(&memctl.committed),
		.admissible = memctl_admissible(),
		.exhausted = get(&memctl.exhausted),
		.sample_ms = get(&memctl.sample_ns) / NS_PER_MS,
		.sample_pages = get(&memctl.sample_pages),
		.period_ms = get(&memctl.period_ns) / NS_PER_MS,
	};
	for (unsigned s = 0; s < MEM_STATES; s++) {
		out->mark[s] = policy_mark(s, total);
		out->entered[s] = get(&memctl.entered[s]);
	}
}

bool memctl_must_wait(const struct domain *d)
{
	return atomic_load_explicit(&memory_tight, memory_order_relaxed) &&
	       atomic_load_explicit(&d->mm.over, memory_order_relaxed);
}

bool memctl_may_end(uint64_t now_ns)
{
	uint64_t last = get(&memctl.ended_ns);

	return memctl_exhausted() && now_ns - last > ENDS_APART_NS &&
	       atomic_compare_exchange_strong(&memctl.ended_ns, &last, now_ns);
}

bool memctl_exhausted(void)
{
	return atomic_load_explicit(&memctl.stuck, memory_order_relaxed);
}
