/* SPDX-License-Identifier: MIT */
/* pCPUs of the host build: one thread each, or all played by one thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/host.h"
#include "core/host/host_impl.h"

_Thread_local struct pcpu *host_this_pcpu;

static struct contention nobody;

uintptr_t arch_sites(void)
{
	return contention_offset(host_this_pcpu ? &host_this_pcpu->contention : &nobody);
}

/* The code that calls this keeps frame pointers; of what called that, nobody knows. */
unsigned arch_callers(const void *frame, uintptr_t *pc, unsigned n)
{
	const uintptr_t *f = frame;

	for (unsigned i = 0; i < 2 && i < n; i++) {
		pc[i] = f[1];
		f = (const uintptr_t *)f[0];
	}
	return MIN(n, 2);
}

static struct {
	void (*fn)(void *arg);
	void *arg;
	pthread_barrier_t barrier;
	unsigned n;
} machine;

/* Old pCPUs stay allocated: a late RCU callback of theirs may still look at them. */
static struct pcpu *all_pcpus;

static void new_pcpus(unsigned n)
{
	for (unsigned i = 0; i < MAX_PCPUS; i++)
		atomic_store(&pcpus[i], NULL);
	atomic_store(&pcpu_count, 0);
	for (unsigned i = 0; i < n; i++) {
		struct pcpu *p = aligned_alloc(CACHE_LINE, sizeof(*p));

		if (!p)
			panic("no memory for pcpu %u", i);
		memset(p, 0, sizeof(*p));
		p->arch.older = all_pcpus;
		all_pcpus = p;
		pthread_mutex_init(&p->arch.lock, NULL);
		pthread_cond_init(&p->arch.wake, NULL);
		atomic_store(&p->arch.deadline_ns, TIME_NEVER);
		pcpu_init(p, i);
	}
}

void host_sim_init(unsigned n)
{
	host_clock_virtual(true);
	host_clock_set(0);
	host_rcu_select(HOST_RCU_QSBR);
	new_pcpus(n);
	for (unsigned i = 0; i < n; i++) {
		host_become(i);
		rcu_thread_online();
		pcpu_online();
	}
	host_become(0);
}

unsigned host_become(unsigned cpu)
{
	unsigned old = host_this_pcpu ? host_this_pcpu->id : 0;

	host_this_pcpu = pcpu_get(cpu);
	return old;
}

void host_service(void)
{
	inbox_drain();
	timers_run(arch_now_ns());
	rcu_quiescent_state();
	rcu_poll();
}

static bool rcu_left(void)
{
	bool left = false;

	for (unsigned i = 0; i < nr_pcpus(); i++) {
		host_become(i);
		host_service();
		left |= rcu_pending() || inbox_pending(&this_pcpu()->inbox);
	}
	return left;
}

void host_sim_rcu_drain(void)
{
	unsigned self = this_pcpu()->id;

	while (rcu_left())
		;
	host_become(self);
}

/* ---- threads ---- */

static void *thread_main(void *arg)
{
	host_this_pcpu = arg;
	rcu_thread_online();
	pcpu_online();
	pthread_barrier_wait(&machine.barrier);
	machine.fn(machine.arg);
	rcu_thread_offline();
	host_rcu_thread_exit();
	return NULL;
}

void host_threads_start(unsigned n, void (*fn)(void *arg), void *arg)
{
	new_pcpus(n);
	machine.fn = fn;
	machine.arg = arg;
	machine.n = n;
	pthread_barrier_init(&machine.barrier, NULL, n);
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&pcpu_get(i)->arch.thread, NULL, thread_main, pcpu_get(i)))
			panic("can't start the thread of pcpu %u", i);
}

void host_threads_join(void)
{
	for (unsigned i = 0; i < machine.n; i++)
		pthread_join(pcpu_get(i)->arch.thread, NULL);
	pthread_barrier_destroy(&machine.barrier);
}

void host_pcpu_loop(_Atomic bool *stop)
{
	while (!atomic_load(stop)) {
		struct pcpu *p = this_pcpu();

		host_service();
		if (p->work || inbox_pending(&p->inbox))
			continue; /* a grace period under way has its timer */
		rcu_thread_offline();
		arch_idle();
		rcu_thread_online();
	}
}

/* ---- interrupts ---- */

void arch_kick(unsigned cpu)
{
	struct arch_pcpu *a = &pcpu_get(cpu)->arch;

	pthread_mutex_lock(&a->lock);
	atomic_store(&a->kicked, true);
	atomic_fetch_add(&a->kicks, 1);
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->lock);
}

void arch_take_irqs(void)
{
	tlb_interrupt();
}

void arch_set_deadline(uint64_t ns)
{
	atomic_store(&this_pcpu()->arch.deadline_ns, ns);
}

/* At most a millisecond at a time: the virtual clock may be moved meanwhile, without a kick. */
static void wait_briefly(struct arch_pcpu *a)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += (long)NS_PER_MS;
	if (ts.tv_nsec >= (long)NS_PER_SEC) {
		ts.tv_nsec -= (long)NS_PER_SEC;
		ts.tv_sec++;
	}
	pthread_cond_timedwait(&a->wake, &a->lock, &ts);
}

void arch_idle(void)
{
	struct arch_pcpu *a = &this_pcpu()->arch;

	pthread_mutex_lock(&a->lock);
	while (!atomic_load(&a->kicked) && arch_now_ns() < atomic_load(&a->deadline_ns)) {
		wait_briefly(a);
		if (host_clock_is_virtual())
			break;
	}
	atomic_store(&a->kicked, false);
	pthread_mutex_unlock(&a->lock);
}
