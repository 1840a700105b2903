/* SPDX-License-Identifier: MIT */
/*
 * Domains and vCPUs: the two objects everything else hangs on.
 *
 * Ownership: a vCPU's fields marked (cur) are touched only by the pCPU on which it is current, or
 * by anyone while it is neither running nor runnable (before start, after stop). Fields marked
 * (any) are atomics. A domain is freed by RCU after its teardown, so a pointer found under RCU
 * (domain_by_id()) stays valid until the next quiescent state.
 */
#ifndef CORE_DOMAIN_H
#define CORE_DOMAIN_H

#include <arch/vcpu.h>
#include <xen/xen.h>
#include <xen/vcpu.h>

#include "core/console.h"
#include "core/evtchn.h"
#include "core/hypercall.h"
#include "core/types.h"
#include "memsvc/memctl.h"
#include "memsvc/mm.h"
#include "memsvc/scan.h"
#include "percpu/inbox.h"
#include "percpu/rcu.h"
#include "percpu/sched.h"
#include "percpu/timer.h"

struct boot_module;
struct guest_record;

/* Per-vCPU counters: one writer (the running pCPU), summed by readers. */
struct vcpu_counters {
	uint64_t hypercalls;
	uint64_t events; /* upcalls delivered */
	uint64_t faults; /* page faults taken, hidden ones included */
	uint64_t traps;	 /* exceptions bounced into the guest */
	uint64_t emulated;
};

/*
 * A unit is started once, by the first VCPUOP_up, and stopped once, by the end of its domain; the
 * two may meet. Each side moves this word by one atomic operation, and who comes second acts.
 */
enum vcpu_starting {
	VS_OFF,	     /* never started */
	VS_STARTING, /* being started: its starter looks again */
	VS_STARTED,  /* later ups wake it */
	VS_STOP	     /* not to be started any more */
};

/* A wait for memory: when it began and was last met, in ns; whether it was logged. */
struct shortage {
	uint64_t since, last;
	bool told;
};

struct vcpu {
	struct sched_unit unit; /* scheduling state, runstate; percpu/sched.h */
	struct domain *domain;
	unsigned id;

	vcpu_info_t *_Atomic info; /* hypervisor's view of the vcpu_info in use (direct map) */
	gfn_t info_gfn;		   /* frame holding it when registered, else INVALID_GFN */

	/* (any) SCHEDOP_poll: bit set while polling; the ports are in poll_ports. */
	_Atomic uint32_t polling;
	uint32_t poll_nr;
	uint32_t poll_ports[128];

	/* (cur) timers; they live on the vCPU's home pCPU and move with it. */
	struct timer singleshot;
	struct timer periodic;
	struct timer poll_timer;

	/* (cur) memory_wait(), and for which address. */
	struct shortage shortage;
	uint64_t short_at;
	uint8_t timers_moving;	      /* which were armed when it left its last home */
	_Atomic uint64_t periodic_ns; /* (any) period asked for, 0 none */
	struct inbox_msg ctl_msg;     /* makes its home look at periodic_ns and is_up */
	_Atomic bool ctl_msg_busy;

	_Atomic uint64_t runstate_gva; /* (any) VCPUOP_register_runstate_memory_area, 0 none */

	struct hypercall_state hc; /* (cur) */
	struct mm_work mm_work;	   /* (cur) */

	_Atomic bool is_up;			 /* VCPUOP_up was called (vCPU 0: at start) */
	_Atomic uint32_t starting;		 /* (any) enum vcpu_starting */
	_Atomic bool initialised;		 /* has a context */
	_Atomic bool init_claimed, info_claimed; /* who sets it does the registration */
	struct evtchn_vcpu evt;
	struct vcpu_counters cnt CACHE_ALIGNED;
	struct evtchn_ports ports;
	struct arch_vcpu arch CACHE_ALIGNED;
};

enum domain_state {
	DOM_BUILDING,
	DOM_RUNNING,
	DOM_STOPPING, /* shutdown seen; its vCPUs are being stopped */
	DOM_TEARDOWN, /* memory being returned */
	DOM_DEAD
};

/* What became of a domain; printed by name in the final table. */
enum domain_end {
	END_NONE,
	END_OFF,
	END_REBOOT,
	END_SUSPEND,
	END_CRASH,
	END_WATCHDOG,
	END_KILLED,    /* by the hypervisor, reason[] says why */
	END_DESTROYED, /* by `destroy` on the control stream */
	END_FAILED     /* never started */
};

#define DOMAIN_WATCHDOGS 2
#define SHUTDOWN_CODE_NONE UINT32_MAX

struct domain {
	domid_t id;
	char name[32];
	char kind[16];
	_Atomic uint32_t state; /* enum domain_state */
	_Atomic uint32_t end;	/* enum domain_end; first setter wins by CAS */
	char reason[96];
	unsigned max_vcpus;
	_Atomic uint32_t live_vcpus; /* units not yet stopped; last one starts the teardown */
	struct vcpu *vcpu[MAX_VCPUS];

	shared_info_t *shared;		/* direct map of the shared_info frame */
	gfn_t shared_gfn;		/* its name, above the largest pfn */
	_Atomic uint64_t vm_assist;	/* (any) VMASST_TYPE_* bits */
	_Atomic uint32_t up_vcpus;	/* (any) */
	_Atomic uint32_t shutdown_code; /* (any) SCHEDOP_shutdown_code */
	uint64_t start_ns, end_ns;	/* system time */

	struct sched_params sched; /* of each vCPU; pCPU 0's from its start on */
	bool control; /* may see and set other domains' memory (core/hc_xylem.h); from its building on */
	struct memctl_dom memctl;
	struct scan_domain scan;
	struct evtchn_dom evt;
	struct console con;
	uint8_t handle[16];

	/* SCHEDOP_watchdog: expiry in system time, 0 when free (any); one timer, on its pCPU. */
	_Atomic uint64_t watchdog_ns[DOMAIN_WATCHDOGS];
	struct timer watchdog_timer;
	struct inbox_msg watchdog_msg;
	_Atomic bool watchdog_msg_busy;

	/* The teardown; touched only by its pCPU, home_cpu. */
	unsigned home_cpu; /* also where watchdog_timer lives */
	struct inbox_msg teardown_msg;
	struct timer teardown_timer;
	uint32_t teardown_step;
	struct guest_record *record; /* where its end is recorded; may be NULL */
	struct rcu_head rcu;
	struct mm mm; /* the last: mm_bytes() of it have memory */
};

/**
 * domain_by_id() - look a domain up. Caller is in an RCU section (any hypercall is).
 * Returns NULL when there is none. DOMID_SELF is not resolved here.
 */
struct domain *domain_by_id(domid_t id);

/**
 * domain_end() - begin the end of @d: record the first reason, stop all its vCPUs. The last vCPU
 * to stop starts the teardown. May be called from any pCPU in any context, also on the current
 * domain (the caller must then leave to the scheduler, see vcpu_must_stop()). @why may be NULL.
 */
void domain_end(struct domain *d, enum domain_end how, const char *why);

/** domain_crash() - END_KILLED with a printf-style reason; for guests that broke the rules. */
void domain_crash(struct domain *d, const char *fmt, ...) PRINTF(2, 3);

/** domains_init() - once, before the first domain. */
void domains_init(void);

/**
 * domains_prepare() - keep ids 1 to @n for those who ask for them by number, and take the memory
 * for these domains that has to be contiguous, while there is such memory; as far as it goes. At
 * start-up, before the first domain.
 */
void domains_prepare(unsigned n);

struct domain_params {
	const char *name, *kind;
	domid_t id; /* 1 to MAX_DOMAINS; 0: the lowest free that domains_prepare() did not keep */
	unsigned vcpus;
	uint64_t nr_pages;
	struct sched_params sched; /* of each vCPU */
};

/**
 * domain_create() - a domain in state DOM_BUILDING: vCPUs without context, names without frames,
 * a shared_info page. domain_by_id() does not find it yet. RCU online; any pCPU.
 * Returns 0, -XEN_EINVAL (vCPUs, pages), -XEN_EEXIST (the id is taken), -XEN_ENOSPC, -XEN_ENOMEM.
 */
int domain_create(struct domain **out, const struct domain_params *p);

/** domain_start() - let others find it and make vCPU 0 runnable; prints the `start` record. */
void domain_start(struct domain *d);

/**
 * domain_set_sched() - new parameters for each of its vCPUs that has been up, from now on. pCPU 0.
 * Returns 0; -XEN_EBUSY when the change before this one has not reached all of them: some may have
 * taken the new ones; set them again.
 */
int domain_set_sched(struct domain *d, const struct sched_params *params);

/** domain_destroy() - give back a domain that was never started (a failed build); asynchronous. */
void domain_destroy(struct domain *d);

/**
 * domain_set_empty_hook() - @fn runs, on any pCPU, whenever the last domain has been freed. Once,
 * at start-up.
 */
void domain_set_empty_hook(void (*fn)(void));

/** domains_end_all() - domain_end() every domain there is. RCU online; any pCPU. */
void domains_end_all(enum domain_end how, const char *why);

/** domain_live_count() - domains created and not yet fully torn down. Any context. */
unsigned domain_live_count(void);

/**
 * domains_boot() - read the module CONFIG_MODULE, build and start every guest it names, from pCPU 0
 * with all pCPUs online. When the last has ended: the table, the `halt` record, arch_poweroff().
 * The machine also ends so when the configuration starts nothing.
 */
void domains_boot(const struct boot_module *mods, unsigned n);

/** vcpu_must_stop() - true when @v's domain is ending, so it must not go back to its guest. */
static inline bool vcpu_must_stop(const struct vcpu *v)
{
	return atomic_load_explicit(&v->domain->state, memory_order_relaxed) >= DOM_STOPPING;
}

/** domain_watchdog_changed() - a value of watchdog_ns[] changed: set the timer. Any pCPU. */
void domain_watchdog_changed(struct domain *d);

/** vcpu_run() - make an up vCPU runnable: start its unit, or bring it back after VCPUOP_down. */
void vcpu_run(struct vcpu *v);

/* ---- called by the exit path (core/run.c) ---- */

/** vcpu_switched_out() - the current vCPU is about to lose this pCPU; its address space is still
 * loaded. Writes its runstate area. */
void vcpu_switched_out(struct vcpu *v);

/** vcpu_switched_in() - @v has become current, its address space is loaded. Asks for another look
 * at the scheduler when @v is down. */
void vcpu_switched_in(struct vcpu *v);

/** domain_end_name() - the word for the JSON and table: off, rebooted, suspended, crashed, ... */
const char *domain_end_name(enum domain_end e);

/** vcpu_of_unit() - the vCPU around a scheduler unit. */
static inline struct vcpu *vcpu_of_unit(struct sched_unit *u)
{
	return container_of(u, struct vcpu, unit);
}

/** current_vcpu() - the vCPU whose guest context is loaded on this pCPU; NULL when idle. */
static inline struct vcpu *current_vcpu(void);

#include "percpu/pcpu.h"

static inline struct vcpu *current_vcpu(void)
{
	return this_pcpu()->current;
}

static inline bool vcpu_event_pending(struct vcpu *v)
{
	vcpu_info_t *info;

	if (unlikely(atomic_load(&v->evt.rare)))
		vcpu_event_backlog(v);
	info = atomic_load(&v->info);
	return info && __atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST) &&
	       !__atomic_load_n(&info->evtchn_upcall_mask, __ATOMIC_SEQ_CST);
}

#endif
