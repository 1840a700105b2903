/* SPDX-License-Identifier: MIT */
/*
 * Borrowed-virtual-time scheduling, one queue per pCPU, after Duda and Cheriton, "Borrowed-Virtual-
 * Time (BVT) scheduling", SOSP '99.
 *
 * A unit's actual virtual time (AVT) advances by its run time divided by its weight; its effective
 * virtual time is EVT = AVT - (warped ? warp : 0); the queue runs the unit with the least EVT. The
 * scheduler virtual time SVT is the least AVT of the runnable units; who wakes gets
 * AVT = max(AVT, SVT). The current unit may run ahead of the next one by the context-switch
 * allowance C; one that wakes with an earlier EVT preempts it.
 *
 * Ownership: a unit belongs to its home pCPU, which alone touches its private fields and its queue.
 * Everybody else sets bits in `state` and posts to the home's inbox. Units move by message only:
 * an idle pCPU asks a busy one, a loaded one sends to a light one, a waking unit is sent on when
 * its home is busy and another pCPU is idle. A unit that runs is never moved.
 *
 * `state` is one atomic word, so that every transition has one linearization point (its RMW):
 *   US_*: the state; only the home pCPU changes it.
 *   UF_WAKE: a wake since the unit was last switched in (or checked); any pCPU sets it, the home
 *     clears it. sched_block_current() and UF_WAKE exclude each other in the same word: a wake
 *     before the block makes the block fail, one after it finds US_BLOCKED and posts.
 *   UF_MSG, UF_PARAMS: the wake (parameter) message is in an inbox; set by who posts it, never
 *     while US_OFF, and cleared where it is handled. A stop completes only when both are clear, so
 *     a stopped unit can be freed by RCU.
 *   UF_STOP: the unit is to be stopped for good. UF_UNPARK: a start came while it was parked.
 * Orders: the RMW that sets UF_WAKE releases the waker's writes (the event's bits); the one that
 *   clears it acquires them. PAIRS: sched_wake.
 */
#ifndef PERCPU_SCHED_H
#define PERCPU_SCHED_H

#include "core/types.h"
#include "percpu/cpumask.h"
#include "percpu/inbox.h"
#include "percpu/timer.h"

#define SCHED_WEIGHT_DEFAULT 256u
#define SCHED_WEIGHT_MAX 65535u
#define SCHED_VT_SCALE 256u /* virtual ns per real ns at weight 1 */
#define SCHED_ALLOWANCE_DEFAULT_NS (5 * NS_PER_MS)
#define SCHED_BALANCE_NS (20 * NS_PER_MS)
#define SCHED_ROTATE_NS (60 * NS_PER_MS)

enum sched_state {
	US_OFF, /* before start, after stop */
	US_BLOCKED,
	US_QUEUED,
	US_RUNNING,
	US_MOVING, /* in a message to its new home */
	US_PARKED, /* VCPUOP_down: only sched_unit_start() brings it back */
	US_MASK = 0xf,
	UF_WAKE = 0x10,
	UF_MSG = 0x20,
	UF_STOP = 0x40,
	UF_PARAMS = 0x80,
	UF_UNPARK = 0x100
};

struct sched_params {
	uint32_t weight;	/* CPU share, 1..SCHED_WEIGHT_MAX; 0 = default (256) */
	uint64_t warp_us;	/* W: EVT = AVT - W, in run time at the default weight; 0 = none */
	uint64_t warp_limit_us; /* L: run time warped at once; 0 = no limit */
	uint64_t unwarp_us;	/* U: time unwarped before it may warp anew */
	cpumask_t pin;		/* pCPUs it may run on; all, if none of them is online */
};

/* Same states, meaning and layout of values as Xen's vcpu_runstate_info (xen/vcpu.h). */
struct sched_runstate {
	int state; /* RUNSTATE_* */
	uint64_t entry_ns;
	uint64_t time[4];
};

struct sched_unit {
	_Atomic uint32_t state;
	_Atomic uint32_t home;	 /* pCPU that owns it */
	_Atomic uint64_t cpu_ns; /* run time; written by its home */

	/* Home only. */
	struct sched_unit *next, *prev; /* run queue */
	uint32_t weight;
	uint32_t vt_rem;  /* remainder of the last division by weight */
	uint64_t avt;	  /* virtual ns */
	uint64_t warp_vt; /* W in virtual ns */
	uint64_t warp_limit_ns, unwarp_ns;
	uint64_t warp_used_ns; /* run time warped so far */
	uint64_t warp_off_ns;  /* when it was last unwarped or blocked */
	bool warped;
	bool stopping;	     /* the stop has reached its home */
	bool stop_finished;  /* off; on_stopped waits for messages still on their way */
	bool fresh;	     /* while moving: its start, not a migration */
	uint32_t rotated_by; /* while moving: 1 + pCPU that wants one back */
	cpumask_t pin;
	int64_t lag;		 /* service it missed, see sched_move.c */
	uint64_t moved_ns;	 /* when it came to its home */
	uint64_t account_ns;	 /* run time is charged up to here */
	_Atomic uint32_t rs_seq; /* odd while rs changes; PAIRS: sched_runstate */
	struct sched_runstate rs;
	uint64_t rel_avt; /* while moving: AVT - SVT of the old home */
	uint64_t nr_switches, nr_migrations;

	struct inbox_msg wake_msg;
	struct inbox_msg move_msg;
	struct inbox_msg stop_msg;
	struct inbox_msg params_msg;
	struct sched_params new_params;
	void (*on_stopped)(struct sched_unit *u);
};

/* What the core hangs into the scheduler; any member may be NULL. All run on the home pCPU. */
struct sched_hooks {
	/* before @u leaves this pCPU / after it has arrived: move its timers */
	void (*on_migrate_out)(struct sched_unit *u);
	void (*on_migrate_in)(struct sched_unit *u);
	/* after the runstate changed from @old to u->rs.state */
	void (*on_runstate)(struct sched_unit *u, int old, uint64_t now_ns);
};

/* Published by each pCPU, read by all: its own cache line. */
struct sched_load {
	_Atomic uint32_t
		weight; /* sum of the weights of runnable units, the running one included */
	_Atomic uint32_t
		inbound; /* weight on its way here: added by senders, taken off on arrival */
	_Atomic uint64_t rotated_ns; /* when it last took its turn as one of the heavy ones */
	/* A line that seldom changes: idle pCPUs look here first. */
	_Atomic bool spare CACHE_ALIGNED; /* has more than one runnable unit */
	_Atomic bool online;
} CACHE_ALIGNED;

/* An idle pCPU's question for work; goes to the victim and back, one at a time. */
struct sched_steal {
	struct inbox_msg msg;
	unsigned thief;
	bool busy;
};

/* A pCPU's scheduler; private to it. */
struct sched {
	struct sched_unit *cur;
	struct sched_unit *queue; /* not warped, by AVT ascending */
	struct sched_unit *warpq; /* warped, by EVT ascending */
	uint64_t svt;
	uint32_t nr, weight; /* runnable, cur included */
	bool preempt;	     /* a waking unit has an earlier EVT: no allowance for cur */
	bool yielded;
	struct timer slice;
	struct timer balance;
	uint64_t last_lag_ns, last_rotate_ns;
	uint64_t machine_weight; /* as seen at the last look */
	unsigned machine_cpus;
	unsigned rotor;
	uint32_t rng;
	struct sched_steal steal;
	struct inbox_msg evict; /* to oneself: send away units that may not run here any more */
	bool evict_posted;
	uint64_t idle_ns, idle_since_ns; /* idle_since_ns 0: not idle */
	uint64_t nr_switches, nr_stolen, nr_pushed, nr_rotated;
};

/** sched_init_pcpu() - by pcpu_init(); sched_online() - by pcpu_online(), on the pCPU itself. */
struct pcpu;
void sched_init_pcpu(struct pcpu *p);
void sched_online(void);

/** sched_set_hooks() - once, before the first unit starts. @h stays referenced. */
void sched_set_hooks(const struct sched_hooks *h);

/** sched_set_allowance() - C in ns, for all pCPUs; at start-up, before the first unit. */
void sched_set_allowance(uint64_t ns);
uint64_t sched_allowance(void);

/** sched_unit_init() - an US_OFF unit with @params (values are clamped). Any pCPU, any context. */
void sched_unit_init(struct sched_unit *u, const struct sched_params *params, uint64_t now_ns);

/**
 * sched_unit_start() - make an US_OFF unit runnable on the least loaded pCPU it may run on.
 * Any pCPU; not twice at once. Also brings a parked unit back. Ignored after a stop has begun;
 * after a completed stop and sched_unit_init() it may be started again.
 */
void sched_unit_start(struct sched_unit *u);

/**
 * sched_unit_stop() - take @u off for good: it is never run again, and @on_stopped(@u) runs on its
 * last pCPU after it has left that pCPU (its context is no longer loaded). Any pCPU, asynchronous,
 * the first call wins. An US_OFF unit that was never started: on_stopped runs on this pCPU.
 */
void sched_unit_stop(struct sched_unit *u, void (*on_stopped)(struct sched_unit *u));

/**
 * sched_wake() - make @u look for events: blocked, it becomes runnable; running, its pCPU leaves
 * guest mode once; queued, it sees them when it is switched in. Any pCPU, any context, idempotent,
 * lock-free; at most one message and one kick until the home pCPU has acted.
 */
void sched_wake(struct sched_unit *u);

/**
 * sched_block_current() - the current unit waits for sched_wake(). False when one has come since
 * it was switched in or last woken: then nothing happens and the caller looks for its events. True:
 * blocked; the exit path switches. Call after having checked that no event is pending.
 */
bool sched_block_current(void);

/** sched_yield_current() - let the others of this pCPU go first, once. */
void sched_yield_current(void);

/**
 * sched_park_current() - VCPUOP_down: the current unit goes off in runstate offline; wakes don't
 * count, sched_unit_start() brings it back.
 */
void sched_park_current(void);

/**
 * sched_pick() - charge the current unit up to @now and return the unit to run, or NULL when there
 * is none; arms the slice timer. Exit path only, after inbox_drain() and timers_run(). The caller
 * switches context at once if it differs from the one before (messages posted here, which move or
 * free the old one, are run by the next inbox_drain()), sets pcpu.current, then looks at
 * pcpu.work again.
 */
struct sched_unit *sched_pick(uint64_t now_ns);

/** sched_current_must_leave() - the current unit is blocked or to be stopped. */
bool sched_current_must_leave(void);

/**
 * sched_set_params() - asynchronous, applied on the home pCPU. False when a change is under way or
 * the unit is off. One caller at a time per unit.
 */
bool sched_set_params(struct sched_unit *u, const struct sched_params *params);

/**
 * sched_runstate() - @u's runstate with the time in its present state up to @now added. Any pCPU;
 * a consistent picture, also while it changes.
 */
struct sched_runstate sched_runstate(const struct sched_unit *u, uint64_t now_ns);

/** sched_cpu_ns() - run time of @u, charged up to its last account. Any pCPU, may lag. */
uint64_t sched_cpu_ns(const struct sched_unit *u);

/** sched_is_running() - @u is on a pCPU now (may have changed when it returns). Any pCPU. */
static inline bool sched_is_running(struct sched_unit *u)
{
	return (atomic_load_explicit(&u->state, memory_order_relaxed) & US_MASK) == US_RUNNING;
}

static inline unsigned sched_home(struct sched_unit *u)
{
	/* PAIRS: sched_home */
	return atomic_load_explicit(&u->home, memory_order_acquire);
}

#endif
