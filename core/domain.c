/* SPDX-License-Identifier: MIT */
/* Domains: their table, creation and start. Their end is in core/domain_end.c. */
#include "core/domain.h"

#include "core/arch.h"
#include "core/domain_impl.h"
#include "core/domains.h"
#include "core/lib.h"
#include "core/stats.h"
#include "core/time.h"
#include "core/vcpu_area.h"
#include "core/vcpu_timer.h"

/*
 * Slot i belongs to domain id i. Claiming it (CAS on `claimed`) gives the exclusive right to its
 * block of memory, which is allocated at first use, larger than a page, and kept for the slot's
 * next domain. `live` is what domain_by_id() sees: set by domain_start(), cleared by the teardown;
 * the slot is released after a grace period, so a block found by a reader is not reused under it.
 * PAIRS: domain_live: the release store of `live` publishes the initialised domain.
 */
struct domain_slot {
	struct domain *live;
	struct domain *block;
	_Atomic bool claimed;
};

static struct domain_slot slots[MAX_DOMAINS + 1];
static _Atomic unsigned live_count;
static unsigned kept_ids; /* set once at start-up */
static void (*empty_hook)(void);

_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "a vCPU is one page");
_Static_assert(offsetof(struct domain, mm) + sizeof(struct mm) == sizeof(struct domain),
	       "what an mm leaves out is left out of its domain");

static const struct sched_hooks hooks = {
	.on_migrate_out = vcpu_migrate_out,
	.on_migrate_in = vcpu_timer_migrate_in,
};

void vcpu_migrate_out(struct sched_unit *u)
{
	vcpu_timer_migrate_out(u);
	arch_vcpu_leave_pcpu(vcpu_of_unit(u));
}

void domains_init(void)
{
	sched_set_hooks(&hooks);
}

struct domain *domain_by_id(domid_t id)
{
	if (id > MAX_DOMAINS)
		return NULL;
	return rcu_dereference(slots[id].live);
}

unsigned domain_live_count(void)
{
	return atomic_load(&live_count);
}

void domain_set_empty_hook(void (*fn)(void))
{
	empty_hook = fn;
}

struct domain *domain_by_name(const char *name)
{
	for (unsigned id = 1; id <= MAX_DOMAINS; id++) {
		struct domain *d = domain_by_id((domid_t)id);

		if (d && strcmp(d->name, name) == 0 && atomic_load(&d->state) == DOM_RUNNING)
			return d;
	}
	return NULL;
}

void domain_hide(struct domain *d)
{
	rcu_assign_pointer(slots[d->id].live, NULL);
}

void domains_end_all(enum domain_end how, const char *why)
{
	for (unsigned i = 1; i <= MAX_DOMAINS; i++) {
		struct domain *d = rcu_dereference(slots[i].live);

		if (d)
			domain_end(d, how, why);
	}
}

static bool claim(unsigned id)
{
	return !atomic_load_explicit(&slots[id].claimed, memory_order_relaxed) &&
	       !atomic_exchange(&slots[id].claimed, true);
}

static size_t domain_bytes(void)
{
	return ROUND_UP(offsetof(struct domain, mm) + mm_bytes(), (size_t)CACHE_LINE);
}

static size_t block_bytes(void)
{
	return ROUND_UP(domain_bytes(), PAGE_SIZE);
}

/* Memory for a claimed slot. */
static bool block_make(struct domain_slot *s)
{
	mfn_t m;

	if (s->block)
		return true;
	m = frames_alloc_contig(block_bytes() / PAGE_SIZE);
	if (!mfn_valid_value(m))
		return false;
	s->block = arch_mfn_to_virt(m);
	return true;
}

void domains_prepare(unsigned n)
{
	kept_ids = MIN(n, MAX_DOMAINS);
	for (unsigned id = 1; id <= kept_ids; id++)
		if (!block_make(&slots[id]))
			return;
}

/* A zeroed block with an id of its own; NULL with *@err. */
static struct domain *block_get(domid_t want, int *err)
{
	unsigned id = want;
	struct domain_slot *s;

	*err = want ? -XEN_EEXIST : -XEN_ENOSPC;
	if (want > MAX_DOMAINS)
		return NULL;
	if (!want)
		for (id = kept_ids + 1; id <= MAX_DOMAINS && !claim(id); id++)
			;
	else if (!claim(id))
		return NULL;
	if (id > MAX_DOMAINS)
		return NULL;
	s = &slots[id];
	if (!block_make(s)) {
		atomic_store(&s->claimed, false);
		*err = -XEN_ENOMEM;
		return NULL;
	}
	memset(s->block, 0, block_bytes());
	s->block->id = (domid_t)id;
	return s->block;
}

static int vcpu_create(struct domain *d, unsigned id, const struct sched_params *params)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);
	struct vcpu *v;
	int rc;

	if (!mfn_valid_value(m))
		return -XEN_ENOMEM;
	v = arch_mfn_to_virt(m);
	v->domain = d;
	v->id = id;
	v->info_gfn = INVALID_GFN;
	rc = arch_vcpu_init(v);
	if (rc) {
		page_free(m);
		return rc;
	}
	sched_unit_init(&v->unit, params, arch_now_ns());
	vcpu_timer_init(v);
	evtchn_vcpu_init(v);
	if (id < XEN_LEGACY_MAX_VCPUS) {
		atomic_init(&v->info, &d->shared->vcpu_info[id]);
		d->shared->vcpu_info[id].evtchn_upcall_mask = 1;
		time_vcpu_info(&d->shared->vcpu_info[id]);
	}
	d->vcpu[id] = v;
	return 0;
}

static int shared_info_create(struct domain *d)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);
	int rc;

	if (!mfn_valid_value(m))
		return -XEN_ENOMEM;
	d->shared_gfn = mm_special_name(&d->mm);
	rc = mm_map_special(&d->mm, d->shared_gfn, m);
	if (rc) {
		page_free(m);
		return rc;
	}
	d->shared = arch_mfn_to_virt(m);
	time_wallclock_write(d->shared, arch_wallclock_base_ns());
	return 0;
}

void domain_free(struct domain *d)
{
	unsigned id = d->id;

	memctl_domain_done(d);
	evtchn_domain_free(d);
	for (unsigned i = 0; i < d->max_vcpus; i++)
		if (d->vcpu[i])
			page_free(arch_virt_to_mfn(d->vcpu[i]));
	/* Release: the next owner, who acquires it in claim(), sees the block unused. */
	atomic_store_explicit(&slots[id].claimed, false, memory_order_release);
	if (atomic_fetch_sub(&live_count, 1) == 1 && empty_hook)
		empty_hook();
}

int domain_create(struct domain **out, const struct domain_params *p)
{
	struct domain *d;
	int rc;

	if (p->vcpus < 1 || p->vcpus > MAX_VCPUS)
		return -XEN_EINVAL;
	d = block_get(p->id, &rc);
	if (!d)
		return rc;
	rc = evtchn_domain_init(d); /* first: its table can be searched from here on */
	if (!rc) {
		rc = mm_init(&d->mm, d->id, p->nr_pages, (char *)d + domain_bytes(),
			     block_bytes() - domain_bytes());
		if (rc)
			evtchn_domain_free(d);
	}
	if (rc) {
		atomic_store(&slots[d->id].claimed, false);
		return rc;
	}
	atomic_fetch_add(&live_count, 1);
	str_copy(d->name, p->name, sizeof(d->name));
	str_copy(d->kind, p->kind, sizeof(d->kind));
	str_copy((char *)d->handle, p->name, sizeof(d->handle));
	d->max_vcpus = p->vcpus;
	d->sched = p->sched;
	d->home_cpu = d->id % nr_pcpus();
	atomic_init(&d->live_vcpus, p->vcpus);
	atomic_init(&d->shutdown_code, SHUTDOWN_CODE_NONE);
	domain_end_init(d);
	console_init(d);
	rc = shared_info_create(d);
	for (unsigned i = 0; i < p->vcpus && !rc; i++)
		rc = vcpu_create(d, i, &p->sched);
	if (rc) {
		domain_destroy(d);
		return rc;
	}
	*out = d;
	return 0;
}

void vcpu_run(struct vcpu *v)
{
	uint32_t s = VS_OFF;

	if (!atomic_compare_exchange_strong(&v->starting, &s, VS_STARTING)) {
		if (s == VS_STARTED)
			sched_unit_start(&v->unit); /* parked by VCPUOP_down */
		return;
	}
	sched_unit_start(&v->unit);
	s = VS_STARTING;
	if (!atomic_compare_exchange_strong(&v->starting, &s, VS_STARTED))
		vcpu_stop(v); /* the end of the domain came in between and left it to us */
}

int domain_set_sched(struct domain *d, const struct sched_params *params)
{
	int rc = 0;

	d->sched = *params;
	for (unsigned i = 0; i < d->max_vcpus; i++)
		if (!sched_set_params(&d->vcpu[i]->unit, params) &&
		    atomic_load(&d->vcpu[i]->starting) == VS_STARTED)
			rc = -XEN_EBUSY;
	return rc;
}

void domain_start(struct domain *d)
{
	struct vcpu *v = d->vcpu[0];

	d->start_ns = arch_now_ns();
	atomic_store(&d->state, DOM_RUNNING);
	stats_start(d);
	rcu_assign_pointer(slots[d->id].live, d); /* PAIRS: domain_live */
	atomic_store(&v->initialised, true);
	atomic_store(&v->init_claimed, true);
	atomic_store(&v->is_up, true);
	atomic_store(&d->up_vcpus, 1);
	vcpu_run(v);
}
