/* SPDX-License-Identifier: MIT */
/* Inboxes: every message arrives once, in its sender's order, with as few kicks as promised. */
#include "core/host/host.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdlib.h>

#define SENDERS 8
#define RUN 64

struct note {
	struct inbox_msg msg;
	unsigned sender, seq;
};

/* What a consumer has seen: the validator. One consumer thread owns one ledger. */
struct ledger {
	unsigned next[SENDERS];
	uint64_t received;
	uint64_t disorder;
};

static void check(struct ledger *l, const struct note *n)
{
	l->received++;
	l->disorder += l->next[n->sender]++ != n->seq;
}

/* ---- the validator against broken inboxes ---- */

static uint64_t missing(const struct ledger *l, uint64_t sent)
{
	return sent - l->received;
}

static struct ledger drain_with(struct inbox_msg *(*take)(struct inbox *), struct inbox *in)
{
	struct ledger l = {0};

	for (struct inbox_msg *m = take(in); m; m = m->next)
		check(&l, container_of(m, struct note, msg));
	return l;
}

static struct inbox_msg *take_without_reversal(struct inbox *in)
{
	return atomic_exchange(&in->head, NULL);
}

Test(percpu_inbox, validator_notices_disorder)
{
	struct inbox in = {0};
	struct note n[3] = {{.seq = 0}, {.seq = 1}, {.seq = 2}};
	struct ledger l;

	for (unsigned i = 0; i < 3; i++)
		inbox_push(&in, &n[i].msg);
	l = drain_with(take_without_reversal, &in);
	cr_expect_gt(l.disorder, 0);
	for (unsigned i = 0; i < 3; i++)
		inbox_push(&in, &n[i].msg);
	l = drain_with(inbox_take, &in);
	cr_expect_eq(l.disorder, 0);
	cr_expect_eq(missing(&l, 3), 0);
}

/* A push by load and store instead of CAS, with another push in between. */
Test(percpu_inbox, validator_notices_a_lost_message)
{
	struct inbox in = {0};
	struct note a = {.sender = 0}, b = {.sender = 1};
	struct ledger l;

	a.msg.next = atomic_load(&in.head);
	inbox_push(&in, &b.msg);
	atomic_store(&in.head, &a.msg);
	l = drain_with(inbox_take, &in);
	cr_expect_eq(missing(&l, 2), 1);
}

/* ---- one thread ---- */

static struct ledger got;

static void receive(struct inbox_msg *m)
{
	check(&got, container_of(m, struct note, msg));
}

Test(percpu_inbox, order_and_kicks)
{
	struct note n[10];

	host_sim_init(3);
	for (unsigned i = 0; i < 10; i++) {
		n[i] = (struct note){.msg.fn = receive, .sender = i % 2, .seq = i / 2};
		host_become(1 + i % 2);
		inbox_post(0, &n[i].msg);
	}
	cr_expect_eq(atomic_load(&pcpu_get(0)->arch.kicks), 1, "only the first post kicks");
	host_become(0);
	inbox_drain();
	cr_expect_eq(got.received, 10);
	cr_expect_eq(got.disorder, 0);
	inbox_drain();
	cr_expect_eq(got.received, 10);
}

Test(percpu_inbox, posting_to_oneself_needs_no_kick)
{
	struct note n = {.msg.fn = receive};

	host_sim_init(2);
	this_pcpu()->work = 0;
	inbox_post(0, &n.msg);
	cr_expect_eq(atomic_load(&pcpu_get(0)->arch.kicks), 0);
	cr_expect(this_pcpu()->work & WORK_INBOX);
	cr_expect(preempt_pending());
	inbox_drain();
	cr_expect_eq(got.received, 1);
	cr_expect_not(preempt_pending());
}

static unsigned hops;

static void hop(struct inbox_msg *m)
{
	if (++hops < 5)
		inbox_post(this_pcpu()->id, m);
}

/* A message may be posted again from its own function; that is the next drain's. */
Test(percpu_inbox, reposting)
{
	struct inbox_msg m = {.fn = hop};

	host_sim_init(1);
	inbox_post(0, &m);
	for (unsigned i = 1; i <= 5; i++) {
		inbox_drain();
		cr_expect_eq(hops, i);
	}
	cr_expect_not(inbox_pending(&this_pcpu()->inbox));
}

/* ---- threads: everybody sends to everybody and relies on kicks to be woken ---- */

#define CPUS 4
#define MESSAGES 6000

static struct {
	struct ledger ledger[CPUS];
	_Atomic uint64_t total;
	_Atomic bool stop;
} st;

static void receive_stress(struct inbox_msg *m)
{
	struct note *n = container_of(m, struct note, msg);

	check(&st.ledger[this_pcpu()->id], n);
	free(n);
	if (atomic_fetch_add(&st.total, 1) + 1 == CPUS * MESSAGES) {
		atomic_store(&st.stop, true);
		for (unsigned i = 0; i < CPUS; i++)
			arch_kick(i);
	}
}

static void stress(void *arg)
{
	unsigned self = this_pcpu()->id;
	unsigned seq[CPUS] = {0};
	unsigned rng = 12345 + self;

	(void)arg;
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct note *n = malloc(sizeof(*n));
		unsigned to;

		rng = rng * 1664525 + 1013904223;
		to = rng >> 16 & (CPUS - 1);
		*n = (struct note){.msg.fn = receive_stress, .sender = self, .seq = seq[to]++};
		inbox_post(to, &n->msg);
		if (rng >> 24 < RUN)
			host_service();
	}
	/* A kick that got lost would leave this asleep with messages in the inbox. */
	host_pcpu_loop(&st.stop);
	host_service();
}

Test(percpu_inbox, stress_conservation_and_order)
{
	host_clock_virtual(false);
	host_threads_start(CPUS, stress, NULL);
	host_threads_join();
	cr_expect_eq(atomic_load(&st.total), CPUS * MESSAGES);
	for (unsigned i = 0; i < CPUS; i++)
		cr_expect_eq(st.ledger[i].disorder, 0, "cpu %u: %lu out of order", i,
			     st.ledger[i].disorder);
}
