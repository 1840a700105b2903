/* SPDX-License-Identifier: MIT */
/*
 * Every single point of interruption: an operation is run once for each of its machine instructions,
 * and after that instruction another pCPU (or the guest) does something complete. What is lock-free
 * must bear this at any instruction. The processor's single-step flag makes it exhaustive and
 * repeatable; races that random threads hardly ever meet are met here each time.
 *
 * Stepping to the k-th instruction costs k traps. Operations too long for that are tried at evenly
 * spaced instructions only, from one that the seed chooses.
 */
#include <criterion/criterion.h>

#include <ucontext.h>

#include "core/evtchn_fifo.h"
#include "test_evtchn.h"

#define TRAP_FLAG 0x100

static void (*intruder)(void);
static unsigned steps, intrude_at;
static bool intruded;

static void on_step(int sig, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;

	(void)sig;
	(void)info;
	if (steps++ != intrude_at)
		return;
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	intruded = true;
	host_become(1);
	intruder();
	host_become(0);
}

/* Run @op; after its @k-th instruction, @other. False when @op was over before. */
static bool interrupted(void (*op)(void), unsigned k, void (*other)(void))
{
	struct sigaction sa = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

	sigaction(SIGTRAP, &sa, NULL);
	intruder = other;
	steps = 0;
	intrude_at = k;
	intruded = false;
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
			"i"(TRAP_FLAG)
		: "memory", "cc");
	op();
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
			"i"(~TRAP_FLAG)
		: "memory", "cc");
	return intruded;
}

/* Traps to spend on one operation, and points to try however many that takes. */
#ifdef __SANITIZE_ADDRESS__
#define TRAPS 8000
#define MIN_POINTS 4
#else
#define TRAPS 50000
#define MIN_POINTS 20
#endif

/* For each instruction of @op: @before, the interrupted @op, @after. */
static void all_steps(void (*before)(void), void (*op)(void), void (*other)(void),
		      void (*after)(unsigned k))
{
	unsigned k, total = 0, stride = 1, n = 0;
	uint64_t seed = seed_from_env();
	bool more = true;

	/* Two rounds are not interrupted; the second one, with all set up, tells the length. A string
	 * instruction may take more or fewer steps the next time, so the length decides where to
	 * try, not when to end. */
	for (k = UINT32_MAX; more; k += stride, n++) {
		before();
		more = interrupted(op, k, other);
		if (!more)
			other();
		after(k);
		world_settle();
		if (n > 1)
			continue;
		more = true;
		total = steps;
		stride = MAX((unsigned)((uint64_t)total * total / 2 / TRAPS), 1u);
		stride = MIN(stride, MAX(total / MIN_POINTS, 1u));
		k = (n ? rnd(&seed) % stride : UINT32_MAX) - stride;
	}
	fprintf(stderr, "%u instructions, %u points of interruption\n", total, n - 3);
	cr_assert(total > 30, "it was stepped");
	cr_assert(n > 3, "it was interrupted");
}

static struct domain *a, *b;
static evtchn_port_t pa, pb, qa, qb;
static struct gfifo g;
static unsigned got_p, got_q;

static void nothing(void)
{
}

static void count(struct vcpu *v, evtchn_port_t port)
{
	(void)v;
	got_p += port == pb;
	got_q += port == qb;
}

static void setup(void)
{
	world_sim(2);
	a = new_domain(1);
	b = new_domain(2);
	cr_assert_eq(evtchn_alloc_unbound(a, b->id, &pa), 0);
	cr_assert_eq(evtchn_bind_interdomain(b, a, pa, &pb), 0);
	cr_assert_eq(evtchn_alloc_unbound(a, b->id, &qa), 0);
	cr_assert_eq(evtchn_bind_interdomain(b, a, qa, &qb), 0);
	g2_upcall(b->vcpu[0], NULL);
	world_settle();
}

static void setup_fifo(void)
{
	setup();
	cr_assert_eq(gf_init(&g, b->vcpu[0]), 0);
	cr_assert_eq(evtchn_fifo_expand_array(b, GFIFO_ARRAY_GFN), 0);
}

TestSuite(steps, .init = setup, .timeout = 120);
TestSuite(steps_fifo, .init = setup_fifo, .timeout = 120);

static void send_p(void)
{
	evtchn_send(a, pa);
}

static void send_q(void)
{
	evtchn_send(a, qa);
}

/* ---- links ---- */

static evtchn_port_t rport, l1, l2;
static int rc1, rc2;

static void offer(void)
{
	cr_assert_eq(evtchn_alloc_unbound(a, b->id, &rport), 0);
}

static void bind_1(void)
{
	rc1 = evtchn_bind_interdomain(b, a, rport, &l1);
}

static void bind_2(void)
{
	rc2 = evtchn_bind_interdomain(b, a, rport, &l2);
}

static void close_r(void)
{
	rc2 = evtchn_close(a, rport);
}

static unsigned status_of(struct domain *d, evtchn_port_t p)
{
	struct evtchn_status st;

	cr_assert_eq(evtchn_status(d, p, &st), 0);
	return st.status;
}

static void closed_once(unsigned k)
{
	cr_assert_eq(rc2, 0);
	if (!rc1) {
		cr_assert_eq(status_of(b, l1), EVTCHNSTAT_unbound, "step %u", k);
		cr_assert_eq(evtchn_close(b, l1), 0);
	}
}

Test(steps, bind_then_close)
{
	all_steps(offer, bind_1, close_r, closed_once);
}

Test(steps, close_then_bind)
{
	rc1 = -1;
	all_steps(offer, close_r, bind_1, closed_once);
}

static void one_has_it(unsigned k)
{
	cr_assert_neq(!rc1, !rc2, "step %u", k);
	cr_assert_eq(status_of(b, rc1 ? l2 : l1), EVTCHNSTAT_interdomain);
	cr_assert_eq(evtchn_close(b, rc1 ? l2 : l1), 0);
	cr_assert_eq(status_of(a, rport), EVTCHNSTAT_unbound);
	cr_assert_eq(evtchn_close(a, rport), 0);
}

Test(steps, two_binders)
{
	all_steps(offer, bind_1, bind_2, one_has_it);
}

static void offer_and_bind(void)
{
	offer();
	bind_1();
}

static void close_l(void)
{
	rc1 = evtchn_close(b, l1);
}

static void both_free(unsigned k)
{
	cr_assert(!rc1 && !rc2, "step %u", k);
	cr_assert_eq(status_of(a, rport), EVTCHNSTAT_closed);
	cr_assert_eq(status_of(b, l1), EVTCHNSTAT_closed);
}

Test(steps, both_ends_close)
{
	all_steps(offer_and_bind, close_l, close_r, both_free);
}

/* ---- one port left, two vCPUs that want it ---- */

static void one_left(void)
{
	evtchn_port_t p;

	while (!evtchn_bind_ipi(b, 0, &p))
		;
	pcpu_get(0)->current = b->vcpu[0];
	pcpu_get(1)->current = b->vcpu[1];
	cr_assert_eq(evtchn_close(b, 100), 0);
}

static void get_1(void)
{
	rc1 = evtchn_bind_ipi(b, 0, &l1);
}

static void get_2(void)
{
	rc2 = evtchn_bind_ipi(b, 0, &l2);
}

static void one_got_it(unsigned k)
{
	pcpu_get(0)->current = pcpu_get(1)->current = NULL;
	cr_assert_neq(!rc1, !rc2, "step %u", k);
	cr_assert_eq(rc1 ? rc1 : rc2, -XEN_ENOSPC);
	cr_assert_eq(rc1 ? l2 : l1, 100);
}

Test(steps, last_port)
{
	all_steps(one_left, get_1, get_2, one_got_it);
}

/* One takes the chunk that the other has left empty while that one comes back to it. */
static evtchn_port_t chunk_of_1;

static void one_left_behind(void)
{
	evtchn_port_t p[EVTCHN_CHUNK + 1];

	while (evtchn_reset(b) == -HC_CONTINUE)
		host_service();
	host_become(1);
	pcpu_get(1)->current = b->vcpu[1];
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		cr_assert_eq(evtchn_bind_ipi(b, 1, &p[i]), 0);
	for (unsigned i = 0; i < EVTCHN_CHUNK; i++)
		cr_assert_eq(evtchn_close(b, p[i]), 0);
	chunk_of_1 = p[0] / EVTCHN_CHUNK;
	/* Both have to look for a chunk next. */
	for (unsigned i = 1; i < EVTCHN_CHUNK; i++)
		cr_assert_eq(evtchn_bind_ipi(b, 1, &p[i]), 0);
	host_become(0);
	pcpu_get(0)->current = b->vcpu[0];
	for (unsigned i = 1; i < EVTCHN_CHUNK; i++)
		cr_assert_eq(evtchn_bind_ipi(b, 0, &p[i]), 0);
}

static void both_got_one(unsigned k)
{
	pcpu_get(0)->current = pcpu_get(1)->current = NULL;
	cr_assert(!rc1 && !rc2, "step %u", k);
	cr_assert_neq(l1, l2, "step %u", k);
	cr_assert(l1 / EVTCHN_CHUNK == chunk_of_1 || l2 / EVTCHN_CHUNK == chunk_of_1, "step %u", k);
}

Test(steps, chunk_taken)
{
	all_steps(one_left_behind, get_1, get_2, both_got_one);
}

/* ---- 2-level sends ---- */

static void guest_2l(void)
{
	vcpu_event_pending(b->vcpu[0]);
	g2_upcall(b->vcpu[0], count);
}

static void zero(void)
{
	got_p = got_q = 0;
}

static void p_came_2l(unsigned k)
{
	guest_2l();
	cr_assert(got_p >= 1 && !g2_pending(b, pb), "step %u", k);
}

Test(steps, guest_looks_during_send)
{
	all_steps(zero, send_p, guest_2l, p_came_2l);
}

static void mask_p(void)
{
	zero();
	g2_mask(b, pb);
}

static void unmask_p(void)
{
	evtchn_unmask(b, pb);
}

Test(steps, unmask_during_send)
{
	all_steps(mask_p, send_p, unmask_p, p_came_2l);
}

Test(steps, send_during_unmask)
{
	all_steps(mask_p, unmask_p, send_p, p_came_2l);
}

static unsigned info_gfn;

static void move_info(void)
{
	info_gfn ^= 1;
	evtchn_vcpu_info_moved(b->vcpu[0], guest_page(b, 20 + info_gfn));
}

Test(steps, info_moves_during_send)
{
	all_steps(zero, send_p, move_info, p_came_2l);
}

Test(steps, send_during_info_move)
{
	all_steps(zero, move_info, send_p, p_came_2l);
}

/* ---- polls ---- */

static bool saw;

static void poll_p(void)
{
	cr_assert_eq(evtchn_poll_begin(b->vcpu[1], &pb, 1), 0);
	saw = evtchn_port_pending(b->vcpu[1], pb);
}

static void poll_over(unsigned k)
{
	cr_assert(saw || !atomic_load(&b->vcpu[1]->polling), "step %u: asleep on an event", k);
	evtchn_poll_end(b->vcpu[1]);
	vcpu_event_pending(b->vcpu[1]);
	guest_2l();
}

Test(steps, send_during_poll)
{
	all_steps(nothing, poll_p, send_p, poll_over);
}

Test(steps, poll_during_send)
{
	all_steps(nothing, send_p, poll_p, poll_over);
}

/* Woken in the middle of the send, the poller comes back at once and polls again. */
static void poll_again(void)
{
	evtchn_poll_end(b->vcpu[1]);
	vcpu_event_pending(b->vcpu[1]);
	g2_clear(b, pb);
	poll_p();
}

static void second_poll_ends(unsigned k)
{
	if (atomic_load(&b->vcpu[1]->polling) && !saw)
		send_p();
	poll_over(k);
}

Test(steps, poll_again_during_send)
{
	all_steps(poll_p, send_p, poll_again, second_poll_ends);
}

/* ---- FIFO ---- */

static void guest_fifo(void)
{
	vcpu_event_pending(b->vcpu[0]);
	gf_upcall(&g, count);
}

static void came_fifo(unsigned k)
{
	guest_fifo();
	cr_assert(got_p >= 1, "step %u: first port", k);
	cr_assert(got_q >= 1, "step %u: second port", k);
	cr_assert_eq(gf_load(b, pb) >> 28 | gf_load(b, qb) >> 28, 0, "step %u", k);
	cr_assert_eq(b->evt.fifo->queues[0][7].stack, 0);
}

Test(steps_fifo, send_during_send)
{
	all_steps(zero, send_p, send_q, came_fifo);
}

static void look_and_send_both(void)
{
	guest_fifo();
	send_p();
	send_q();
}

Test(steps_fifo, guest_looks_and_all_send_again)
{
	all_steps(zero, send_p, look_and_send_both, came_fifo);
}

/* A queue given up with q on its stack: p's sender takes it over. */
static void leave_q(void)
{
	struct evtchn_queue *eq = &b->evt.fifo->queues[0][7];

	zero();
	atomic_store(&eq->stack, EQ_OWNED);
	send_q();
	atomic_store(&eq->stack, EQ_HANDOFF | EQ_PORT(atomic_load(&eq->stack)));
}

static void q_once_more(void)
{
	guest_fifo();
	got_q = 0;
	send_q();
}

Test(steps_fifo, port_sent_again_while_it_is_linked)
{
	send_p();
	send_q();
	guest_fifo(); /* both belong to their queue now */
	all_steps(leave_q, send_p, q_once_more, came_fifo);
}

static unsigned prio = 7;

static void move_p_and_send(void)
{
	evtchn_set_priority(b, pb, prio ^= 3);
	guest_fifo();
	send_p();
	send_q();
}

Test(steps_fifo, queues_change_during_send)
{
	all_steps(zero, send_p, move_p_and_send, came_fifo);
}

Test(steps_fifo, send_during_move)
{
	all_steps(zero, move_p_and_send, send_p, came_fifo);
}

static struct domain *c;
static evtchn_port_t pc;

static void fresh_domain(void)
{
	if (c) {
		for (unsigned i = 0; i < 2; i++)
			evtchn_reset(c);
	} else {
		c = new_domain(1);
	}
	memset(guest_page(c, GFIFO_CB_GFN), 0, PAGE_SIZE);
	memset(guest_page(c, GFIFO_ARRAY_GFN), 0, PAGE_SIZE);
	g2_upcall(c->vcpu[0], NULL);
	world_settle();
	cr_assert_eq(evtchn_bind_ipi(c, 0, &pc), 0);
	pb = pc;
	got_p = 0;
}

static void to_fifo(void)
{
	cr_assert_eq(gf_init(&g, c->vcpu[0]), 0);
	cr_assert_eq(evtchn_fifo_expand_array(c, GFIFO_ARRAY_GFN), 0);
}

static void send_c(void)
{
	evtchn_send(c, pc);
}

static void came_across(unsigned k)
{
	gf_upcall(&g, count);
	cr_assert(got_p >= 1, "step %u", k);
}

Test(steps, send_during_change_of_abi)
{
	all_steps(fresh_domain, to_fifo, send_c, came_across);
}

Test(steps, change_of_abi_during_send)
{
	all_steps(fresh_domain, send_c, to_fifo, came_across);
}

/* ---- console ---- */

static struct xencons_interface *ring;
static evtchn_port_t con;
static char sink[1 << 20];

static void console_setup(void)
{
	setup();
	ring = guest_page(b, 5);
	cr_assert_eq(console_set_ring(b, ring, &con), 0);
	host_console_capture(0, sink, sizeof(sink));
}

TestSuite(steps_console, .init = console_setup, .timeout = 120);

static void put_line(void)
{
	ring->out[MASK_XENCONS_IDX(ring->out_prod, ring->out)] = 'x';
	ring->out[MASK_XENCONS_IDX(ring->out_prod + 1, ring->out)] = '\n';
	__atomic_store_n(&ring->out_prod, ring->out_prod + 2, __ATOMIC_SEQ_CST);
}

static void notify(void)
{
	evtchn_send(b, con);
}

static void line_and_notify(void)
{
	put_line();
	notify();
}

static unsigned nr_lines;

static void all_read(unsigned k)
{
	unsigned n = 0;

	cr_assert_eq(ring->out_cons, ring->out_prod, "step %u", k);
	nr_lines += 2;
	log_flush();
	sink[host_console_len(0)] = 0;
	for (const char *p = sink; (p = strstr(p, "| x\n")); p++)
		n++;
	cr_assert_eq(n, nr_lines, "step %u: %u lines of %u", k, n, nr_lines);
}

Test(steps_console, notification_during_drain)
{
	nr_lines = 0;
	all_steps(put_line, notify, line_and_notify, all_read);
}
