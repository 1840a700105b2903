/* SPDX-License-Identifier: MIT */
/*
 * The memory controller of memsvc/memctl.h over the torture's domains: its tick and the swap it
 * orders, as they are. Its guests have no event channels: that one is told of its balloon target is
 * counted here, and its mutators look at the target (torture_guest.c).
 */
#include "memsvc/memctl_impl.h"
#include "memsvc/swap.h"
#include "torture.h"

/* So few can be: each tick comes by all of them. */
#undef MAX_DOMAINS
#define MAX_DOMAINS 32
_Static_assert(MAX_DOMAINS > 2 * T_MAX_CPUS - 1, "mayfly_id()");

static void tell(struct domain *d, unsigned virq)
{
	(void)virq;
	if (memctl_balloon_bound(d))
		tcpus[0].n[S_TOLD]++;
}

/* Whatever is set meanwhile, what it was given is divided. */
static uint64_t divide_and_check(struct policy_dom *d, unsigned n, uint64_t pages, unsigned tax)
{
	uint64_t sum = policy_targets(d, n, pages, tax), targets = 0, min = 0;

	for (unsigned i = 0; i < n; i++) {
		if (d[i].target < d[i].min || d[i].target > d[i].cap)
			torture_fail("target %lu is not within %lu and %lu",
				     (unsigned long)d[i].target, (unsigned long)d[i].min,
				     (unsigned long)d[i].cap);
		targets += d[i].target;
		min += d[i].min;
	}
	if (sum != targets || sum > MAX(pages, min))
		torture_fail("%lu pages are divided into %lu, said to be %lu", (unsigned long)pages,
			     (unsigned long)targets, (unsigned long)sum);
	tcpus[0].n[S_DIVIDED]++;
	return sum;
}

#define domain_by_id torture_domain
#define send_guest_global_virq tell
#define policy_targets divide_and_check
#include "../memsvc/memctl_run.c"
#define message pump_message
#include "../memsvc/memctl_swap.c"

void policy_machine(void)
{
	memset(&run, 0, sizeof(run));
	memset(pumps, 0, sizeof(pumps));
	wanted = CPUMASK_NONE;
	memctl.started = false;
	atomic_store(&memctl.state, MEM_HIGH);
	atomic_store(&memctl.stuck, false);
	atomic_store(&memctl.squeezed, false);
	atomic_store(&memctl.room_until_ns, 0);
	atomic_store(&memctl.swapped_out, 0);
	memctl.own = 0;
}

void policy_tick_stop(struct tcpu *t)
{
	if (t->id)
		return;
	/* Those who asked for a look have done so: no tick is on its way but the armed one. */
	between();
	timer_disarm(&run.timer);
}

void policy_swap_stop(struct tcpu *t)
{
	struct pump *p = &pumps[t->id];

	between(); /* likewise */
	timer_disarm(&p->timer);
	while (p->nr)
		page_free(p->reserve[--p->nr]);
	for (unsigned d = 0; d < tc.domains; d++)
		swap_pump_stop(&odoms[d].d->mm);
}

void policy_rest_check(void)
{
	if (atomic_load(&memctl.committed) || atomic_load(&memctl.reserved))
		torture_fail("at rest: %lu frames stay promised and %lu reserved",
			     (unsigned long)memctl.committed, (unsigned long)memctl.reserved);
	tcpus[0].n[S_ORDERED] += atomic_load(&memctl.swapped_out);
	for (unsigned s = MEM_SOFT; s < MEM_STATES; s++)
		tcpus[0].n[S_SHORT] += atomic_load(&memctl.entered[s]);
	for (unsigned s = 0; s < MEM_STATES; s++)
		atomic_store(&memctl.entered[s], 0);
}
