/* SPDX-License-Identifier: MIT */
/* When retired frames come free: percpu/tlb.h, "When". */
#include "core/run.h"
#include "mm_test.h"

#define LAST_GFN 500

static uint64_t next_gfn;

/* pCPUs 0 and 1 run the domain. */
static void setup(unsigned cpus)
{
	machine_memory();
	host_sim_init(cpus);
	domain_make(T_NAMES, cpus);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	for (unsigned i = 0; i < cpus; i++) {
		host_become(i);
		arch_context_switch(NULL, dom->vcpu[i]);
	}
	host_become(0);
}

/* The guest gives up @n pages; the first one's frame. */
static mfn_t give_up(unsigned n)
{
	mfn_t m = mm_gfn_to_mfn(mm, GFN(next_gfn));

	while (n--) {
		cr_assert_lt(next_gfn, LAST_GFN);
		cr_assert_eq(mm_decrease(mm, GFN(next_gfn++)), 0);
	}
	return m;
}

static unsigned in_open(void)
{
	struct retire_batch *b = this_pcpu()->tlb.open;

	return b ? b->n : 0;
}

static void timers_after(uint64_t ns)
{
	host_clock_advance(ns);
	timers_run(arch_now_ns());
}

static void flush_elsewhere(void)
{
	host_become(1);
	tlb_flush_local();
	host_become(0);
}

/* Nobody runs it any more, so nobody has to be asked to flush. */
static void done(void)
{
	atomic_store(&memory_short, false);
	for (unsigned i = dom->max_vcpus; i--;) {
		host_become(i);
		arch_context_switch(dom->vcpu[i], NULL);
	}
	domain_done();
}

Test(retire, plenty_of_memory)
{
	mfn_t m;

	setup(2);
	m = give_up(RETIRE_BATCH);
	cr_assert_eq(in_open(), RETIRE_BATCH, "the timer's work");
	timers_after(RETIRE_NS - 1);
	cr_assert_eq(in_open(), RETIRE_BATCH);
	timers_after(1);
	cr_assert_eq(in_open(), 0);
	/* Nobody has flushed yet. The next batch's timer finds that all have. */
	host_sim_rcu_drain();
	cr_assert_eq(page_type(page_of(m)), PG_DOM);
	flush_elsewhere();
	tlb_flush_local();
	give_up(RETIRE_BATCH);
	timers_after(RETIRE_NS);
	host_sim_rcu_drain();
	cr_assert_eq(page_type(page_of(m)), PG_FREE);
	done();
}

Test(retire, the_most_that_waits_for_the_timer)
{
	setup(2);
	give_up(RETIRE_MOST - 1);
	cr_assert_eq(in_open(), RETIRE_MOST - 1);
	give_up(1);
	cr_assert_eq(in_open(), 0);
	done();
}

Test(retire, little_memory)
{
	setup(2);
	atomic_store(&memory_short, true);
	give_up(RETIRE_BATCH - 1);
	cr_assert_eq(in_open(), RETIRE_BATCH - 1);
	give_up(1);
	cr_assert_eq(in_open(), 0, "at once");
	done();
}

/* However few: closed by one timer, released by the next. */
static void idle_once(uint64_t ns)
{
	struct timer *t = &this_pcpu()->tlb.soon;
	mfn_t m;

	tlb_retire_idle();
	cr_assert(!timer_armed(t), "nothing waits");
	m = give_up(3);
	cr_assert(!timer_armed(t));
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_neq(page_type(page_of(m)), PG_FREE);
		tlb_retire_idle();
		cr_assert(timer_armed(t));
		cr_assert_eq(t->expires_ns, arch_now_ns() + ns);
		host_clock_advance(ns / 2);
		tlb_retire_idle(); /* does not put it off */
		timers_after(ns - ns / 2);
		cr_assert_eq(in_open(), 0);
		flush_elsewhere();
	}
	host_sim_rcu_drain();
	cr_assert_eq(page_type(page_of(m)), PG_FREE);
}

Test(retire, idle)
{
	setup(2);
	idle_once(RETIRE_IDLE_NS);
	atomic_store(&memory_short, true);
	idle_once(RETIRE_NS);
	done();
}

/* A batch that becomes large meanwhile does not wait for as long as an idle pCPU's may. */
Test(retire, the_earlier_of_two)
{
	setup(2);
	give_up(1);
	tlb_retire_idle();
	give_up(RETIRE_BATCH - 1);
	timers_after(RETIRE_NS);
	cr_assert_eq(in_open(), 0);
	done();
}

/* ---- the idle loop itself, on threads ---- */

static mfn_t given;
static struct timer look;
static _Atomic bool over;
static _Atomic unsigned ready;

static void look_again(struct timer *t, uint64_t now)
{
	if (page_type(page_of(given)) == PG_FREE)
		panic("free");
	timer_arm(t, now + NS_PER_MS);
}

/* pCPU 1 runs the guest for ever: it flushes only when it is asked to. */
static void pcpu(void *arg)
{
	struct pcpu *p = this_pcpu();

	(void)arg;
	arch_context_switch(NULL, dom->vcpu[p->id]);
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < 2)
		cpu_relax();
	if (p->id == 1) {
		while (!atomic_load(&over)) {
			rcu_quiescent_state();
			tlb_serve();
		}
		return;
	}
	given = give_up(3);
	timer_init(&look, look_again);
	timer_arm(&look, arch_now_ns());
	if (!HOST_CATCH_PANIC()) {
		p->work |= WORK_RESCHED;
		run_exit_work(p); /* only the panic leads out */
	}
	cr_assert_str_eq(host_panic_text, "free");
	atomic_store(&over, true);
}

Test(retire, idle_loop, .timeout = 280)
{
	machine_memory();
	host_sim_init(2);
	domain_make(T_NAMES, 2);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	host_clock_virtual(false);
	host_threads_start(2, pcpu, NULL);
	host_threads_join();
	cr_assert(atomic_load(&over));
}
