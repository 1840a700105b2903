/* SPDX-License-Identifier: MIT */
/* core/evtchn*.c: ports, links, and how an event gets to a vCPU that looks, masks, moves or polls. */
#include "core/evtchn_internal.h"
#include "stress/litmus/tests/world.h"

static struct domain *a, *b;
static evtchn_port_t pa, pb;
static struct evtchn *e;
static evtchn_port_t port[3];

static void setup(void)
{
	world_memory(3);
	a = world_domain("a", 1, 4);
	b = world_domain("b", 1, 4);
	if (evtchn_alloc_unbound(a, b->id, &pa) || evtchn_bind_interdomain(b, a, pa, &pb))
		litmus_fail("no link");
	world_settle();
	e = ec_lookup(b, pb);
	b->vcpu[0]->info->evtchn_upcall_pending = 0;
	b->vcpu[0]->info->evtchn_pending_sel = 0;
	b->shared->evtchn_pending[0] = 0;
}

/* ---- the table ---- */

static void fill_page(struct domain *d)
{
	evtchn_port_t p;

	do
		evtchn_alloc_unbound(d, 0, &p);
	while (p < EVTCHN_PORTS_PER_PAGE - 1);
}

static void setup_table(void)
{
	setup();
	fill_page(b);
	/* As the search will find: short ways to what is looked at. */
	atomic_store(&b->vcpu[0]->ports.low, EVTCHN_PORTS_PER_PAGE / EVTCHN_CHUNK);
}

static void thread_table(unsigned me)
{
	struct evtchn *r;

	if (me < 2) {
		LITMUS_ASSERT(!evtchn_alloc_unbound(b, a->id, &port[me]));
		return;
	}
	r = ec_lookup(b, EVTCHN_PORTS_PER_PAGE + 5);
	if (r)
		LITMUS_ASSERT(atomic_load_explicit(&r->priority, memory_order_relaxed) ==
			      EVTCHN_FIFO_PRIORITY_DEFAULT);
}

static void check_table(void)
{
	LITMUS_ASSERT(port[0] != port[1]);
	for (unsigned i = 0; i < 2; i++)
		LITMUS_ASSERT(ec_kind(atomic_load(&ec_lookup(b, port[i])->state)) == EC_UNBOUND);
}

LITMUS(port_table, "ec_table", "ports are distinct, and their records whole when found", 3, 2,
       setup_table, thread_table, check_table);

/* ---- a port that is used again ---- */

static void setup_reuse(void)
{
	setup();
	if (evtchn_alloc_unbound(b, 0, &port[2]))
		litmus_fail("no port");
}

static void thread_reuse(unsigned me)
{
	if (me == 0)
		LITMUS_ASSERT(!evtchn_close(b, port[2]));
	else
		LITMUS_ASSERT(!evtchn_alloc_unbound(b, a->id, &port[me - 1]));
}

static void check_reuse(void)
{
	enum evtchn_kind k = ec_kind(atomic_load(&ec_lookup(b, port[2])->state));

	LITMUS_ASSERT(port[0] != port[1]);
	LITMUS_ASSERT(k == (port[0] == port[2] || port[1] == port[2] ? EC_UNBOUND : EC_FREE));
}

LITMUS(port_reuse, "ec_reuse", "a closed port goes to one owner", 3, 2, setup_reuse, thread_reuse,
       check_reuse);

/* ---- a link made while the other end closes ---- */

static void setup_link(void)
{
	setup();
	if (evtchn_alloc_unbound(a, b->id, &port[0]))
		litmus_fail("no port");
}

static int bound;

static void thread_link(unsigned me)
{
	if (me == 0)
		bound = evtchn_bind_interdomain(b, a, port[0], &port[1]);
	else
		LITMUS_ASSERT(!evtchn_close(a, port[0]));
}

static void check_link(void)
{
	uint64_t w;

	LITMUS_ASSERT(ec_kind(atomic_load(&ec_lookup(a, port[0])->state)) == EC_FREE);
	if (bound)
		return;
	w = atomic_load(&ec_lookup(b, port[1])->state);
	LITMUS_ASSERT(ec_kind(w) == EC_UNBOUND && ec_dom(w) == a->id);
}

LITMUS(port_link, "ec_link", "no end names a port that is closed", 2, 3, setup_link, thread_link,
       check_link);

/* ---- both ends close ---- */

static void thread_close(unsigned me)
{
	LITMUS_ASSERT(!(me ? evtchn_close(a, pa) : evtchn_close(b, pb)));
}

static void check_close(void)
{
	LITMUS_ASSERT(ec_kind(atomic_load(&ec_lookup(a, pa)->state)) == EC_FREE);
	LITMUS_ASSERT(ec_kind(atomic_load(&ec_lookup(b, pb)->state)) == EC_FREE);
}

LITMUS(port_close, "ec_close", "a link whose ends are both closed is gone", 2, 3, setup,
       thread_close, check_close);

/* ---- two-level: an event against its unmasking ---- */

static void setup_mask(void)
{
	setup();
	b->shared->evtchn_mask[0] = 1UL << pb;
}

static void thread_mask(unsigned me)
{
	if (me)
		LITMUS_ASSERT(!evtchn_unmask(b, pb));
	else
		LITMUS_ASSERT(!evtchn_send(a, pa));
}

static void check_upcall(void)
{
	struct vcpu *v = b->vcpu[0];

	LITMUS_ASSERT(b->shared->evtchn_pending[0] >> pb & 1);
	LITMUS_ASSERT(v->info->evtchn_pending_sel & 1);
	LITMUS_ASSERT(v->info->evtchn_upcall_pending);
}

LITMUS(unmask, "ec_2l_mask", "an event is delivered by its sender or by who unmasks it", 2, 3,
       setup_mask, thread_mask, check_upcall);

/* ---- vcpu_info moves ---- */

static vcpu_info_t elsewhere;

static void thread_move(unsigned me)
{
	if (me)
		evtchn_vcpu_info_moved(b->vcpu[0], &elsewhere);
	else
		LITMUS_ASSERT(!evtchn_send(a, pa));
}

LITMUS(info_move, "ec_info_move", "an event is seen at the new place of vcpu_info", 2, 2, setup,
       thread_move, check_upcall);

/* ---- poll ---- */

static void setup_poll(void)
{
	setup();
	/* Nobody else is to end the poll. */
	b->vcpu[0]->info->evtchn_upcall_pending = 1;
	b->vcpu[0]->info->evtchn_pending_sel = 1;
}

static void thread_poll(unsigned me)
{
	struct vcpu *v = b->vcpu[0];

	if (!me) {
		LITMUS_ASSERT(!evtchn_send(a, pa));
		return;
	}
	LITMUS_ASSERT(!evtchn_poll_begin(v, &pb, 1));
	if (evtchn_port_pending(v, pb))
		return;
	while (atomic_load_explicit(&v->polling, memory_order_relaxed))
		cpu_relax();
}

LITMUS(poll, "ec_poll", "who polls has seen the event, or is woken", 2, 3, setup_poll, thread_poll,
       NULL);
