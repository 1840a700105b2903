/* SPDX-License-Identifier: MIT */
#include "percpu/xlock.h"

/* By the holder. */
static void taken(struct xlock *l)
{
	struct contention_slot *s = this_slot(l->site);

	if (__atomic_load_n(&s->ops, __ATOMIC_RELAXED) % LOCK_HOLD_EVERY == 0)
		l->since = arch_cycles();
	arch_count(&s->ops);
}

void xlock_lock(struct xlock *l)
{
	uint32_t ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
	struct retry_loop loop = {.site = l->site};

	/* PAIRS: xlock */
	while (atomic_load_explicit(&l->owner, memory_order_acquire) != ticket) {
		retry(&loop);
		cpu_relax();
	}
	taken(l);
	retry_done(&loop);
}

bool xlock_trylock(struct xlock *l)
{
	/* PAIRS: xlock */
	uint32_t owner = atomic_load_explicit(&l->owner, memory_order_acquire);

	/* next == owner means free; the acquire above saw the last holder's release. */
	if (!atomic_compare_exchange_strong_explicit(&l->next, &owner, owner + 1,
						     memory_order_relaxed, memory_order_relaxed))
		return false;
	taken(l);
	return true;
}

void xlock_unlock(struct xlock *l)
{
	uint32_t owner = atomic_load_explicit(&l->owner, memory_order_relaxed);

	if (l->since) {
		uint64_t *held = &this_slot(l->site)->retries;

		__atomic_store_n(held,
				 __atomic_load_n(held, __ATOMIC_RELAXED) + arch_cycles() - l->since,
				 __ATOMIC_RELAXED);
		l->since = 0;
	}
	/* PAIRS: xlock */
	atomic_store_explicit(&l->owner, owner + 1, memory_order_release);
}
