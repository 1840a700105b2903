/* SPDX-License-Identifier: MIT */
/*
 * TLB: which pCPUs may cache an address space, shootdown, and the retirement of frames.
 *
 * Who may be dirty: pcpu_tlb.loaded names the mm whose tables the pCPU's CR3 points to. A context
 * switch writes only its own line; who shoots reads the lines of the mm's users.
 *   loader:  loaded = mm; full fence; CR3 write; page walks      (PAIRS: tlb_loaded)
 *   shooter: clear entries; full fence; read loaded               (PAIRS: tlb_loaded)
 * Either the shooter sees mm loaded, or the loader's walks see the cleared entries. A pCPU that
 * has just left mm still has stale entries until its CR3 write, but it is in the hypervisor and
 * uses none of them before that write.
 *
 * Idle: CR3 has the hypervisor's own tables, but `loaded` stays while the pCPU is to wake up within
 * TLB_KEEP_NS: it may be asked for a flush that it does not need, and in return a short sleep moves no
 * line that those who shoot look at. It may name an mm that is gone, even one whose memory is another
 * one's now: that costs a flush, too, and who comes back looks whether it is among the mm's users.
 *
 * Users: each pCPU that loads an mm is in mm.users from before its first walk on, and stays there
 * when it loads another, so that a pCPU which comes back writes nothing: the mask's line is written
 * when a vCPU comes to a new pCPU, and otherwise only read. A shooter that finds several who have
 * left takes them out, in a window of odd epochs: take i out; full fence; put i back if it has mm
 * loaded. A loader between these steps finds itself missing after its fence, or is put back. Who
 * reads the mask while the epoch is odd or changes may miss i, and takes all pCPUs for users
 * instead; who reads it before or after the window finds i, or cleared entries before i's fence.
 * Linearization: of a new user the fetch_or. Nobody waits for anybody. (PAIRS: tlb_users)
 *
 * Shootdown: take a ticket (fetch_add on the target's req), kick, wait until done >= ticket. The
 * target flushes and publishes the newest ticket it saw before the flush, in the kick's interrupt: so
 * a pCPU that nobody asks never looks at these lines. Waiters let their own interrupts in, so there is
 * no deadlock, and no lock. (PAIRS: tlb_ticket)
 *
 * Retirement (the invariant everything rests on): a frame taken out of a domain is reused only
 * after (1) every hardware entry for it is gone, (2) each pCPU that had the mm loaded then has
 * flushed since, (3) an RCU grace period. Frames are collected per pCPU; a closed batch remembers
 * the pCPUs and their flush epochs, and is released when all have moved on by themselves, or by
 * one shootdown when too many wait.
 * When: looking at other pCPUs is left to a timer, so that an operation that retires frames touches
 * none of their lines. It comes RETIRE_NS after a batch has RETIRE_BATCH frames, and RETIRE_IDLE_NS
 * after a pCPU with any goes idle: closes the open batch, and shoots down for one that was closed
 * before. So of an idle pCPU's frames none waits for more than two such times and a grace period, and
 * a busy one keeps fewer than RETIRE_BATCH open without a timer. Operations themselves do it only at
 * RETIRE_MOST frames. While memory is short they do it at RETIRE_BATCH, an idle pCPU looks each time,
 * and RETIRE_IDLE_NS is RETIRE_NS. Who finds no frame has all pCPUs do it (tlb_retire_drain(),
 * tlb_drain_all()).
 *
 * Late: an operation that began before a frame or table was taken out may still publish an rmap
 * location or a leaf for it and retract it on its second look. The grace period waits for that
 * operation, but not for a reader that came later and found what was published meanwhile. So the
 * operation marks the frame late, and a late frame goes through a second grace period.
 * PAIRS: tlb_late
 */
#ifndef PERCPU_TLB_H
#define PERCPU_TLB_H

#include "core/types.h"
#include "percpu/cpumask.h"
#include "percpu/rcu.h"
#include "percpu/timer.h"

struct mm;
struct page_info;
struct pcpu;

#define RETIRE_BATCH 64			/* frames after which a batch is closed soon */
#define RETIRE_MOST 128			/* and at once */
#define RETIRE_NS (100 * NS_PER_US)	/* soon */
#define RETIRE_IDLE_NS (10 * NS_PER_MS) /* while idle, however few */
#define TLB_KEEP_NS (500 * NS_PER_US)	/* how long an idle pCPU stays a user */
#define RETIRE_BATCHES 4 /* descriptors per pCPU: open, waiting for flushes, waiting for RCU */

enum retire_state { RETIRE_UNUSED, RETIRE_OPEN, RETIRE_FLUSH, RETIRE_RCU };

/* Private to its pCPU. */
struct retire_batch {
	enum retire_state state;
	uint32_t n;
	uint64_t head;	/* mfn list through page_info.next */
	struct mm *mm;	/* all frames are of this mm, NULL: of several */
	uint64_t seq;	/* order of closing */
	cpumask_t wait; /* pCPUs not seen to have flushed */
	struct rcu_head rcu;
	uint32_t epoch[MAX_PCPUS]; /* of those in wait when the batch was closed */
};

struct pcpu_tlb {
	/* Written by this pCPU, read by others: who shoots looks at the first, the second is for timers
	 * and those who find no frame. */
	_Atomic(struct mm *) loaded;	      /* whose tables CR3 has, or had before it slept */
	_Atomic uint32_t epoch CACHE_ALIGNED; /* full flushes so far, counted just before each */
	_Atomic uint64_t nr_retired;	      /* frames in its batches */
	/* What others ask for, and the answer. */
	_Atomic uint64_t req CACHE_ALIGNED; /* newest ticket asked for */
	_Atomic uint64_t done;		    /* newest ticket served; written by this pCPU */
	_Atomic uint32_t drain;		    /* someone waits for this pCPU's retired frames */
	/* Private. */
	uint64_t keep_until CACHE_ALIGNED; /* idle, and `loaded` stays; 0: not idle */
	struct retire_batch *open;
	uint64_t seq;
	struct timer soon; /* moves the batches on */
	struct retire_batch batch[RETIRE_BATCHES];
} CACHE_ALIGNED;

/* In struct mm; all zero: no user. */
struct tlb_users {
	atomic_cpumask_t mask;	/* pCPUs that have it loaded, and some that had */
	_Atomic uint32_t epoch; /* odd while some are taken out */
} CACHE_ALIGNED;

/**
 * tlb_users() - pCPUs that may have @mm loaded, after a full fence: all that have, and maybe more.
 */
cpumask_t tlb_users(struct mm *mm);

/** tlb_users_left() - @n of those who were found to be users have it not loaded. */
void tlb_users_left(struct mm *mm, unsigned n);

/** tlb_init_pcpu() - by pcpu_init(). */
void tlb_init_pcpu(struct pcpu *p);

/**
 * tlb_note_load() - to be called before each CR3 load, with the mm it belongs to (NULL: the
 * hypervisor's own tables). Fences when the mm changes; counts the flush that CR3 write is.
 * This pCPU, interrupts off.
 */
void tlb_note_load(struct mm *mm);

/** tlb_note_idle() - the same for the hypervisor's own tables while this pCPU has nothing to run. */
void tlb_note_idle(void);

/**
 * tlb_idle() - before this pCPU sleeps or scans: is it to stay a user of what it ran last? @next_ns: when
 * a timer is due. This pCPU.
 */
void tlb_idle(uint64_t next_ns);

/** tlb_flush_local() - flush this pCPU's TLB and count it. */
void tlb_flush_local(void);

/**
 * tlb_shootdown_mm() - flush every pCPU that has @mm loaded, this one included; returns when all
 * have. Callers have written the entries before. Hypervisor context, RCU online; serves other
 * pCPUs' requests while waiting.
 */
void tlb_shootdown_mm(struct mm *mm);

/** tlb_shootdown_mask() - the same for those pCPUs of @mask that have @mm loaded. */
void tlb_shootdown_mask(struct mm *mm, const cpumask_t *mask);

/** tlb_shootdown_cpus() - the same for all of @mask, whatever they have loaded. */
void tlb_shootdown_cpus(const cpumask_t *mask);

/**
 * tlb_interrupt() - serve flush requests made to this pCPU, and set WORK_TLB when someone waits for its
 * retired frames. Interrupt context; on the host arch_take_irqs().
 */
void tlb_interrupt(void);

/**
 * tlb_serve() - let interrupts in, and pass this pCPU's retired frames on if they are waited for. Called
 * from the exit path (before entering a guest), the idle loop, and operations that take long.
 */
void tlb_serve(void);

/** tlb_retire() - free @pi's frame once no pCPU can reach it through @mm's tables. The hardware
 * entries are already gone, or nothing links to it any more. This pCPU. */
void tlb_retire(struct mm *mm, struct page_info *pi);

/** tlb_retire_poll() - release batches whose pCPUs have all flushed. Any time. */
void tlb_retire_poll(void);

/** tlb_retire_idle() - before this pCPU sleeps: see to it that its frames come free. */
void tlb_retire_idle(void);

/** tlb_retire_drain() - flush whoever must and pass all retired frames of this pCPU to RCU. */
void tlb_retire_drain(void);

/** tlb_drain_all() - ask every pCPU to do so soon (asynchronous). */
void tlb_drain_all(void);

#endif
