/* SPDX-License-Identifier: MIT */
#include "core/mem_stats.h"

#include "core/arch.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "memsvc/memctl.h"
#include "memsvc/name.h"
#include "memsvc/scan.h"
#include "memsvc/swap.h"
#include "percpu/log.h"

#define PERIOD_DEFAULT_NS NS_PER_SEC
#define PERIOD_MAX_MS 3600000u
#define LOOK_NS NS_PER_SEC /* at the period, which may have changed */
#define RETRY_NS (5 * NS_PER_MS)
#define PAUSE_NS (100 * NS_PER_US) /* between two steps */
#define ROWS_LEN 800		   /* of a line; a row is at most 270 */
#define ROW_LEN 280
#define STEP_IDS 256 /* domain ids looked at in one step */

/* All domains together. */
struct totals {
	uint64_t t_ns, given, touched, allocated, shared, zero, swapped, ballooned;
	/* The host. */
	uint64_t frames, free, shared_frames, saved;
};

/* pCPU 0's, but for the period. */
static struct {
	_Atomic uint64_t period_ns;
	struct timer timer;
	unsigned next;	    /* domain id at which the sample under way goes on; 0: none is */
	uint64_t seq;	    /* samples begun */
	uint64_t began_ns;  /* the last of them */
	struct totals sum;  /* of the sample under way */
	struct totals last; /* what mem_stats_end() prints; t_ns 0: nothing */
	uint64_t most;	    /* given in any sample */
	bool frozen;
} view = {.period_ns = PERIOD_DEFAULT_NS};

static uint64_t count(const struct mm_stats *s, unsigned kind)
{
	/* A sum of shards in motion may dip below. */
	return s->frames[kind] > 0 ? (uint64_t)s->frames[kind] : 0;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

void mem_stats_of(struct domain *d, struct xylem_memory *out)
{
	struct memctl_stats c;
	struct mm_stats s;

	mm_stats(&d->mm, &s);
	memctl_stats_of(d, &c);
	*out = (struct xylem_memory){
		.size = sizeof(*out),
		.domid = d->id,
		.flags = (c.balloon_manual ? XYLEM_MEMORY_balloon_by_hand : 0) |
			 (c.waits ? XYLEM_MEMORY_waits : 0),
		.shares = c.shares,
		.given = d->mm.max_pages,
		.min = c.min,
		.touched = count(&s, MMN_TOUCHED),
		.allocated = count(&s, MMK_DATA),
		.active = c.active_pages,
		.shared = count(&s, MMN_SHARING),
		.zero = count(&s, MMN_ZERO),
		.swapped = count(&s, MMN_SWAPPED),
		.ballooned = count(&s, MMN_GONE),
		.overhead = count(&s, MMK_SPECIAL) + count(&s, MMK_HWTABLE) + count(&s, MMK_META),
		.target = c.target,
		.balloon = c.balloon_target,
		.saved = minus(count(&s, MMN_SHARING), count(&s, MMN_BROUGHT)),
		.broken = count(&s, MMC_BROKEN),
		.scanned = count(&s, MMC_SCANNED),
		.hints = count(&s, MMC_HINTS),
	};
}

static void add(struct totals *t, const struct xylem_memory *m)
{
	t->given += m->given;
	t->touched += m->touched;
	t->allocated += m->allocated;
	t->shared += m->shared;
	t->zero += m->zero;
	t->swapped += m->swapped;
	t->ballooned += m->ballooned;
}

static void add_host(struct totals *t)
{
	int64_t distinct = share_frames();
	uint64_t frames = distinct > 0 ? (uint64_t)distinct : 0;

	t->frames = frames_total();
	t->free = frames_free_count();
	t->shared_frames = frames;
	frames += t->zero ? 1 : 0;
	t->saved = minus(t->shared, frames);
}

#define UL(x) ((unsigned long)(x))

static int row(char *buf, struct domain *d, const struct xylem_memory *m)
{
	struct mm_stats s;

	mm_stats(&d->mm, &s);
	return fmt_snprintf(
		buf, ROW_LEN,
		"[\"%s\",%lu,%lu,%lu,%lu,%lu,%lu,%lu,%lu,%lu,%lu,%lu,%u,%lu,%lu,%lu,%lu,%lu,%lu]",
		d->name, UL(m->given), UL(m->touched), UL(m->allocated), UL(m->active),
		UL(m->shared), UL(m->zero), UL(m->swapped), UL(m->ballooned), UL(m->overhead),
		UL(m->target), UL(m->balloon), m->shares, UL(m->saved), UL(m->broken),
		UL(m->scanned), UL(m->hints), UL(count(&s, MMK_HWTABLE)), UL(count(&s, MMK_META)));
}

/* One line of rows, from domain id view.next on. False when the record stream has no room. */
static bool rows_out(void)
{
	struct totals sum = view.sum;
	char rows[ROWS_LEN];
	unsigned id = view.next, end = MIN(id + STEP_IDS, MAX_DOMAINS + 1);
	size_t len = 0;

	for (; id < end; id++) {
		struct domain *d = domain_by_id((domid_t)id);
		struct xylem_memory m;

		if (!d || atomic_load(&d->state) >= DOM_TEARDOWN)
			continue;
		if (len + ROW_LEN + 1 > sizeof(rows))
			break;
		mem_stats_of(d, &m);
		if (len)
			rows[len++] = ',';
		len += (size_t)row(rows + len, d, &m);
		add(&sum, &m);
	}
	if (len && !record_printf("{\"ev\":\"mem\",\"seq\":%lu,\"t_ns\":%lu,\"dom\":[%s]}",
				  UL(view.seq), UL(view.began_ns), rows))
		return false;
	view.sum = sum;
	view.next = id;
	return true;
}

static bool total_out(void)
{
	struct totals *t = &view.sum;
	struct memctl_host_stats h;
	struct scan_stats c;
	struct swap_stats s;

	add_host(t);
	memctl_host_stats(&h);
	scan_stats(&c);
	swap_stats(&s);
	return record_printf(
		"{\"ev\":\"mem\",\"seq\":%lu,\"t_ns\":%lu,\"total\":{\"frames\":%lu,\"free\":%lu,"
		"\"used\":%lu,\"state\":\"%s\",\"tax\":%u,\"given\":%lu,\"touched\":%lu,"
		"\"allocated\":%lu,\"shared\":%lu,\"zero\":%lu,\"shared_frames\":%lu,\"saved\":%lu,"
		"\"swapped\":%lu,\"ballooned\":%lu,\"broken\":%lu,\"swap_frames\":%lu,"
		"\"looked\":%lu,\"scanned\":%lu,\"merged\":%lu,\"merged_zero\":%lu,"
		"\"hints\":%lu,\"scan_ns\":%lu,"
		"\"swap_stores\":%lu,\"swap_loads\":%lu,\"committed\":%lu,\"exhausted\":%lu}}",
		UL(view.seq), UL(view.began_ns), UL(t->frames), UL(t->free),
		UL(t->frames - t->free), mem_state_name(h.state), h.tax, UL(t->given),
		UL(t->touched), UL(t->allocated), UL(t->shared), UL(t->zero), UL(t->shared_frames),
		UL(t->saved), UL(t->swapped), UL(t->ballooned), UL(share_breaks()), UL(s.frames),
		UL(c.looked), UL(c.scanned), UL(c.merged), UL(c.zero), UL(c.hints), UL(c.busy_ns),
		UL(s.stores), UL(s.loads), UL(h.committed), UL(h.exhausted));
}

static void sample_begin(void)
{
	view.seq++;
	view.began_ns = arch_now_ns();
	view.sum = (struct totals){.t_ns = view.began_ns};
	view.next = 1;
}

static void sample_done(void)
{
	view.next = 0;
	view.most = MAX(view.most, view.sum.given);
	if (!view.frozen && view.sum.given && view.sum.given >= view.most - view.most / 10)
		view.last = view.sum;
}

/* Some of the sample under way; false when the record stream has no room. */
static bool view_step(void)
{
	if (view.next <= MAX_DOMAINS)
		return rows_out();
	if (!total_out())
		return false;
	sample_done();
	return true;
}

static void tick(struct timer *t, uint64_t now)
{
	uint64_t period = atomic_load(&view.period_ns), due = view.began_ns + period;

	if (view.next) {
		bool room = view_step();

		timer_arm(t, arch_now_ns() + (room ? PAUSE_NS : RETRY_NS));
		return;
	}
	if (period && !view.frozen && now >= due) {
		sample_begin();
		timer_arm(t, now);
		return;
	}
	timer_arm(t, period && due > now ? MIN(due, now + LOOK_NS) : now + LOOK_NS);
}

void mem_stats_start(void)
{
	view.began_ns = arch_now_ns();
	timer_init(&view.timer, tick);
	timer_arm(&view.timer, view.began_ns);
}

int mem_stats_set_period(uint64_t ms)
{
	if (ms > PERIOD_MAX_MS)
		return -XEN_EINVAL;
	atomic_store(&view.period_ns, ms * NS_PER_MS);
	return 0;
}

void mem_stats_freeze(void)
{
	if (view.frozen)
		return;
	sample_begin();
	while (view.next)
		if (!view_step())
			log_flush();
	if (view.sum.given)
		view.last = view.sum;
	view.frozen = true;
}

void mem_stats_end(void)
{
	const struct totals *t = &view.last;

	if (!t->t_ns)
		return;
	record_printf("{\"ev\":\"memory\",\"t_ns\":%lu,\"given_pages\":%lu,\"touched_pages\":%lu,"
		      "\"frames_total\":%lu,\"frames_used\":%lu,\"shared_pages\":%lu,"
		      "\"zero_pages\":%lu,\"shared_frames\":%lu,\"saved_pages\":%lu,"
		      "\"swapped_pages\":%lu,\"ballooned_pages\":%lu}",
		      UL(t->t_ns), UL(t->given), UL(t->touched), UL(t->frames),
		      UL(t->frames - t->free), UL(t->shared), UL(t->zero), UL(t->shared_frames),
		      UL(t->saved), UL(t->swapped), UL(t->ballooned));
}
