/* SPDX-License-Identifier: MIT */
/* Event channels, FIFO ABI: set-up, order, priorities, moving between queues, a random model. */
#include "core/evtchn_fifo.h"
#include "test_evtchn.h"

static struct domain *a, *b;
static struct gfifo g[2];

#define NLOG 4096
static struct {
	evtchn_port_t port[NLOG];
	unsigned vcpu[NLOG];
	unsigned n;
} got;

static void note(struct vcpu *v, evtchn_port_t port)
{
	cr_assert(got.n < NLOG);
	got.port[got.n] = port;
	got.vcpu[got.n++] = v->id;
}

static void setup(void)
{
	world_sim(2);
	a = new_domain(1);
	b = new_domain(2);
	world_settle();
	cr_assert_eq(gf_init(&g[0], b->vcpu[0]), 0);
	cr_assert_eq(gf_init(&g[1], b->vcpu[1]), 0);
	got.n = 0;
}

static void expand(void)
{
	cr_assert_eq(evtchn_fifo_expand_array(b, GFIFO_ARRAY_GFN), 0);
}

TestSuite(evtchn_fifo, .init = setup);

/* A port of b on @vcpu with @prio, and a's end to send on. */
static evtchn_port_t make(unsigned vcpu, unsigned prio, evtchn_port_t *pa)
{
	evtchn_port_t pb;

	cr_assert_eq(evtchn_alloc_unbound(b, a->id, &pb), 0);
	cr_assert_eq(evtchn_bind_interdomain(a, b, pb, pa), 0);
	cr_assert_eq(evtchn_bind_vcpu(b, pb, vcpu), 0);
	cr_assert_eq(evtchn_set_priority(b, pb, prio), 0);
	return pb;
}

static void take(unsigned vcpu)
{
	got.n = 0;
	gf_upcall(&g[vcpu], note);
}

Test(evtchn_fifo, init_control)
{
	struct evtchn_init_control ic = {.control_gfn = 120, .vcpu = 0};
	struct domain *c = new_domain(2);
	evtchn_port_t p;

	cr_assert_eq(evtchn_alloc_unbound(c, 0, &p), 0);
	cr_assert_eq(evtchn_fifo_expand_array(c, 130), -XEN_EOPNOTSUPP);
	cr_assert_eq(evtchn_set_priority(c, p, 3), -XEN_ENOSYS);
	ic.vcpu = 2;
	cr_assert_eq(evtchn_fifo_init_control(c, &ic), -XEN_ENOENT);
	ic.vcpu = 0;
	ic.offset = PAGE_SIZE - 64;
	cr_assert_eq(evtchn_fifo_init_control(c, &ic), -XEN_EINVAL);
	ic.offset = 4;
	cr_assert_eq(evtchn_fifo_init_control(c, &ic), -XEN_EINVAL);
	ic.offset = 0;
	ic.control_gfn = 100000;
	cr_assert_eq(evtchn_fifo_init_control(c, &ic), -XEN_EINVAL, "no such frame");
	cr_assert_eq(c->evt.abi, EVTCHN_ABI_2L);
	ic.control_gfn = 120;
	ic.offset = PAGE_SIZE - sizeof(evtchn_fifo_control_block_t);
	cr_assert_eq(evtchn_fifo_init_control(c, &ic), 0);
	cr_assert_eq(ic.link_bits, EVTCHN_FIFO_LINK_BITS);
	cr_assert_eq(c->evt.abi, EVTCHN_ABI_FIFO);
	ic.control_gfn = 121;
	cr_assert_eq(evtchn_fifo_init_control(c, &ic), -XEN_EINVAL, "once per vCPU");
	cr_assert_eq(evtchn_fifo_expand_array(c, 100000), -XEN_EINVAL);
	cr_assert_eq(evtchn_set_priority(c, p, 16), -XEN_EINVAL);
	cr_assert_eq(evtchn_set_priority(c, 9999, 1), -XEN_EINVAL);
	for (unsigned i = 0; i < 128; i++)
		cr_assert_eq(evtchn_fifo_expand_array(c, 200 + i), 0);
	cr_assert_eq(evtchn_fifo_expand_array(c, 400), -XEN_ENOSPC);
}

Test(evtchn_fifo, order_within_a_queue)
{
	evtchn_port_t pa[50], pb[50];
	struct vcpu *v = b->vcpu[0];

	expand();
	for (unsigned i = 0; i < 50; i++)
		pb[i] = make(0, 7, &pa[i]);
	cr_assert(!vcpu_event_pending(v));
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(evtchn_send(a, pa[i * 7 % 50]), 0);
	evtchn_send(a, pa[0]); /* pending already: no second entry */
	cr_assert(vcpu_event_pending(v));
	cr_assert_eq(g[0].cb->ready, 1u << 7);
	take(0);
	cr_assert_eq(got.n, 50);
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(got.port[i], pb[i * 7 % 50]);
	take(0);
	cr_assert_eq(got.n, 0);
	/* The tail has been consumed; the queue starts anew, also with that same port. */
	evtchn_send(a, pa[49 * 7 % 50]);
	evtchn_send(a, pa[3]);
	take(0);
	cr_assert_eq(got.n, 2);
	cr_assert_eq(got.port[0], pb[49 * 7 % 50]);
	cr_assert_eq(got.port[1], pb[3]);
}

Test(evtchn_fifo, priorities)
{
	evtchn_port_t pa[16], pb[16];

	expand();
	for (unsigned i = 0; i < 16; i++)
		pb[i] = make(1, i, &pa[i]);
	for (int i = 15; i >= 0; i--)
		evtchn_send(a, pa[i]);
	cr_assert_eq(g[1].cb->ready, 0xffff);
	cr_assert(!vcpu_event_pending(b->vcpu[0]));
	take(1);
	cr_assert_eq(got.n, 16);
	for (unsigned i = 0; i < 16; i++)
		cr_assert_eq(got.port[i], pb[i]);
}

Test(evtchn_fifo, masked_ports_are_not_linked)
{
	evtchn_port_t pa, pb;

	expand();
	pb = make(0, 7, &pa);
	gf_mask(b, pb);
	evtchn_send(a, pa);
	cr_assert_eq(gf_load(b, pb) >> 28, 0xc, "pending, masked, not linked");
	cr_assert(!vcpu_event_pending(b->vcpu[0]));
	cr_assert(evtchn_port_pending(b->vcpu[0], pb));
	evtchn_unmask(b, pb);
	cr_assert_eq(gf_load(b, pb) >> 28, 0xa);
	take(0);
	cr_assert_eq(got.n, 1);
	cr_assert(!evtchn_port_pending(b->vcpu[0], pb));
}

Test(evtchn_fifo, raised_before_the_word_exists)
{
	evtchn_port_t pa, pb;

	pb = make(1, 3, &pa);
	evtchn_send(a, pa);
	evtchn_send(a, pa);
	cr_assert(evtchn_port_pending(b->vcpu[1], pb));
	cr_assert(!vcpu_event_pending(b->vcpu[1]));
	expand();
	cr_assert(vcpu_event_pending(b->vcpu[1]));
	take(1);
	cr_assert_eq(got.n, 1);
	cr_assert_eq(got.port[0], pb);
}

Test(evtchn_fifo, pending_bits_come_along)
{
	struct domain *c = new_domain(1);
	evtchn_port_t pc[100];
	struct gfifo gc;

	for (unsigned i = 0; i < 100; i++) {
		cr_assert_eq(evtchn_bind_ipi(c, 0, &pc[i]), 0);
		if (i % 3 == 0)
			evtchn_send(c, pc[i]);
	}
	cr_assert_eq(gf_init(&gc, c->vcpu[0]), 0);
	cr_assert_eq(evtchn_fifo_expand_array(c, GFIFO_ARRAY_GFN), 0);
	got.n = 0;
	gf_upcall(&gc, note);
	cr_assert_eq(got.n, 34);
	for (unsigned i = 0; i < 34; i++)
		cr_assert_eq(got.port[i], pc[i * 3]);
}

Test(evtchn_fifo, moves_only_when_not_linked)
{
	evtchn_port_t pa, pb, oa, ob;

	expand();
	pb = make(0, 7, &pa);
	ob = make(0, 7, &oa);
	evtchn_send(a, pa);
	/* Linked: stays where it is, wherever it is bound to by then. */
	cr_assert_eq(evtchn_bind_vcpu(b, pb, 1), 0);
	cr_assert_eq(evtchn_set_priority(b, pb, 2), 0);
	evtchn_send(a, pa);
	take(1);
	cr_assert_eq(got.n, 0);
	take(0);
	cr_assert_eq(got.n, 1);
	/* It is still the old queue's tail; now it goes to the new one, and the old one does not
	 * hang what comes next behind it. */
	evtchn_send(a, pa);
	evtchn_send(a, oa);
	cr_assert_eq(g[1].cb->ready, 1u << 2);
	take(0);
	cr_assert_eq(got.n, 1);
	cr_assert_eq(got.port[0], ob);
	take(1);
	cr_assert_eq(got.n, 1);
	cr_assert_eq(got.port[0], pb);
}

Test(evtchn_fifo, linked_port_is_not_reused)
{
	evtchn_port_t pa, pb, next;

	expand();
	pb = make(0, 7, &pa);
	evtchn_send(a, pa);
	cr_assert_eq(evtchn_close(b, pb), 0);
	cr_assert_eq(evtchn_alloc_unbound(b, 0, &next), 0);
	cr_assert_neq(next, pb, "still in the guest's queue");
	take(0);
	cr_assert_eq(got.n, 0, "unlinked, but no longer pending");
	cr_assert_eq(evtchn_close(b, next), 0);
	cr_assert_eq(evtchn_alloc_unbound(b, 0, &next), 0);
	cr_assert_eq(next, pb);
}

Test(evtchn_fifo, guest_lies)
{
	evtchn_port_t pa[3], pb[3];

	expand();
	for (unsigned i = 0; i < 3; i++)
		pb[i] = make(0, 7, &pa[i]);
	/* Says LINKED: skipped. Says BUSY: that is ours to say. A bogus link: replaced. */
	__atomic_store_n(gf_word(b, pb[0]), 1u << EVTCHN_FIFO_LINKED, __ATOMIC_SEQ_CST);
	evtchn_send(a, pa[0]);
	__atomic_store_n(gf_word(b, pb[1]), 1u << EVTCHN_FIFO_BUSY, __ATOMIC_SEQ_CST);
	evtchn_send(a, pa[1]);
	__atomic_fetch_or(gf_word(b, pb[1]), 0x1ffff, __ATOMIC_SEQ_CST);
	evtchn_send(a, pa[2]);
	cr_assert_eq(gf_load(b, pb[1]) & EVTCHN_FIFO_LINK_MASK, pb[2]);
	__atomic_store_n(&g[0].cb->ready, 0xffffffff, __ATOMIC_SEQ_CST);
	__atomic_store_n(&g[0].cb->head[3], 0xffffffff, __ATOMIC_SEQ_CST);
	evtchn_send(a, pa[0]);
	evtchn_reset(b);
	evtchn_send(a, pa[0]);
}

Test(evtchn_fifo, reset_and_again)
{
	evtchn_port_t pa, pb;

	expand();
	pb = make(0, 7, &pa);
	evtchn_send(a, pa);
	cr_assert_eq(evtchn_reset(b), 0);
	cr_assert_eq(b->evt.abi, EVTCHN_ABI_2L);
	cr_assert_eq(evtchn_alloc_unbound(b, a->id, &pb), 0);
	cr_assert_eq(evtchn_bind_interdomain(a, b, pb, &pa), 0);
	evtchn_send(a, pa);
	cr_assert(g2_pending(b, pb));
	memset(guest_page(b, GFIFO_ARRAY_GFN), 0, PAGE_SIZE);
	memset(guest_page(b, GFIFO_CB_GFN), 0, PAGE_SIZE);
	cr_assert_eq(gf_init(&g[0], b->vcpu[0]), 0);
	expand();
	take(0);
	cr_assert_eq(got.n, 1);
	cr_assert_eq(got.port[0], pb);
}

/*
 * An owner on another pCPU gave the queue up with ports left: they are linked, in order, by the
 * receiver on its way into the guest, or by the next sender.
 */
static void leave_ports(evtchn_port_t *pa, evtchn_port_t *pb, unsigned n, struct evtchn_queue *q)
{
	atomic_store(&q->stack, EQ_OWNED);
	for (unsigned i = 0; i < n; i++) {
		pb[i] = make(1, 7, &pa[i]);
		atomic_store(&ec_lookup(b, pb[i])->lastq, 16 + 7);
		evtchn_send(a, pa[i]);
		evtchn_send(a, pa[i]);
		cr_assert_eq(gf_load(b, pb[i]), 1u << EVTCHN_FIFO_PENDING);
	}
	atomic_store(&q->stack, EQ_HANDOFF | EQ_PORT(atomic_load(&q->stack)));
}

Test(evtchn_fifo, handed_to_the_receiver)
{
	struct evtchn_queue *q = &b->evt.fifo->queues[0][16 + 7];
	evtchn_port_t pa[300], pb[300];

	expand();
	leave_ports(pa, pb, 300, q);
	cr_assert(!vcpu_event_pending(b->vcpu[1]));
	atomic_store(&b->vcpu[1]->evt.fifo_backlog, true);
	cr_assert(vcpu_event_pending(b->vcpu[1]));
	cr_assert_eq(q->stack, 0);
	take(1);
	cr_assert_eq(got.n, 300);
	for (unsigned i = 0; i < 300; i++)
		cr_assert_eq(got.port[i], pb[i]);
}

Test(evtchn_fifo, handed_to_the_next_sender)
{
	struct evtchn_queue *q = &b->evt.fifo->queues[0][16 + 7];
	evtchn_port_t pa[31], pb[31];

	expand();
	leave_ports(pa, pb, 30, q);
	pb[30] = make(1, 7, &pa[30]);
	atomic_store(&ec_lookup(b, pb[30])->lastq, 16 + 7);
	evtchn_send(a, pa[30]);
	cr_assert_eq(q->stack, 0);
	take(1);
	cr_assert_eq(got.n, 31);
	cr_assert_eq(got.port[30], pb[30]);
}

/*
 * Random operations against a model that says which ports must be delivered: pending and not masked.
 * Each must come out exactly once, on the vCPU where it was bound when it was linked.
 */
#define NP 40

Test(evtchn_fifo, random_model)
{
	uint64_t seed = seed_from_env();
	evtchn_port_t pa[NP], pb[NP];
	bool pending[NP] = {false}, masked[NP] = {false}, linked[NP] = {false};
	unsigned vcpu[NP] = {0}, at[NP] = {0};

	expand();
	for (unsigned i = 0; i < NP; i++)
		pb[i] = make(0, 7, &pa[i]);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = rnd(&seed) % NP, r = rnd(&seed) % 16;

		if (r < 8) {
			evtchn_send(a, pa[i]);
			pending[i] = true;
			if (!masked[i] && !linked[i]) {
				linked[i] = true;
				at[i] = vcpu[i];
			}
		} else if (r < 10) {
			vcpu[i] = rnd(&seed) % 2;
			evtchn_bind_vcpu(b, pb[i], vcpu[i]);
		} else if (r < 12) {
			evtchn_set_priority(b, pb[i], rnd(&seed) % 16);
		} else if (r == 12) {
			gf_mask(b, pb[i]);
			masked[i] = true;
		} else if (r == 13) {
			evtchn_unmask(b, pb[i]);
			masked[i] = false;
			if (pending[i] && !linked[i]) {
				linked[i] = true;
				at[i] = vcpu[i];
			}
		} else {
			unsigned c = rnd(&seed) % 2, want = 0;

			take(c);
			for (unsigned k = 0; k < NP; k++) {
				unsigned times = 0;
				bool due = linked[k] && at[k] == c;

				for (unsigned n = 0; n < got.n; n++)
					times += got.port[n] == pb[k];
				cr_assert_eq(times, due && !masked[k], "port %u at step %u", pb[k],
					     step);
				if (due) {
					linked[k] = false;
					want += !masked[k];
					if (!masked[k])
						pending[k] = false;
				}
			}
			cr_assert_eq(got.n, want);
		}
	}
}
