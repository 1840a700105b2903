/* SPDX-License-Identifier: MIT */
/* core/evtchn_fifo.c: senders to one queue, the guest that takes from it, a change of the ABI. */
#include "core/evtchn_fifo.h"
#include "core/evtchn_internal.h"
#include "stress/litmus/tests/world.h"

#define CONTROL 40
#define ARRAY 41
#define EVENTS 3

static struct domain *a, *b;
static evtchn_port_t pa[EVENTS], pb[EVENTS];
static unsigned seen[EVENTS];
static evtchn_fifo_control_block_t *cb;
static event_word_t *words;
static evtchn_port_t head;

static void setup_links(void)
{
	world_memory(3);
	a = world_domain("a", 1, 4);
	b = world_domain("b", 1, 64);
	for (unsigned i = 0; i < EVENTS; i++)
		if (evtchn_alloc_unbound(a, b->id, &pa[i]) ||
		    evtchn_bind_interdomain(b, a, pa[i], &pb[i]))
			litmus_fail("no link");
	world_settle();
	cb = arch_mfn_to_virt(mm_gfn_to_mfn(&b->mm, GFN(CONTROL)));
	words = arch_mfn_to_virt(mm_gfn_to_mfn(&b->mm, GFN(ARRAY)));
	b->vcpu[0]->info->evtchn_upcall_pending = 0;
	b->vcpu[0]->info->evtchn_pending_sel = 0;
	for (unsigned i = 0; i < 64; i++)
		b->shared->evtchn_pending[i] = 0;
}

static void set_abi(void)
{
	struct evtchn_init_control ic = {.control_gfn = CONTROL};

	LITMUS_ASSERT(!evtchn_fifo_init_control(b, &ic));
}

static void setup(void)
{
	setup_links();
	set_abi();
	if (evtchn_fifo_expand_array(b, ARRAY))
		litmus_fail("no array");
}

/* The guest takes one event off its queue; by the published design, see xen/event_channel.h. */
static evtchn_port_t take(void)
{
	const event_word_t link = EVTCHN_FIFO_LINK_MASK;
	evtchn_port_t p = head;
	event_word_t w;

	if (!p)
		p = __atomic_load_n(&cb->head[EVTCHN_FIFO_PRIORITY_DEFAULT], __ATOMIC_ACQUIRE);
	if (!p)
		return 0;
	w = __atomic_load_n(&words[p], __ATOMIC_SEQ_CST);
	while (!__atomic_compare_exchange_n(&words[p], &w, w & ~((1u << EVTCHN_FIFO_LINKED) | link),
					    false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	head = w & link;
	if (!(w >> EVTCHN_FIFO_PENDING & 1))
		return 0;
	__atomic_fetch_and(&words[p], ~(1u << EVTCHN_FIFO_PENDING), __ATOMIC_SEQ_CST);
	return p;
}

/* An upcall, if there is one. */
static void upcall(void)
{
	vcpu_info_t *vi = b->vcpu[0]->info;
	uint32_t ready;

	if (!__atomic_exchange_n(&vi->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST))
		return;
	ready = __atomic_exchange_n(&cb->ready, 0, __ATOMIC_SEQ_CST);
	while (ready) {
		evtchn_port_t p = take();

		for (unsigned i = 0; i < EVENTS; i++)
			seen[i] += p == pb[i];
		if (!head)
			ready = 0;
		ready |= __atomic_exchange_n(&cb->ready, 0, __ATOMIC_SEQ_CST);
	}
}

/* Each event is either taken by now or found by a last upcall. */
static void check(void)
{
	vcpu_event_pending(b->vcpu[0]);
	upcall();
	for (unsigned i = 0; i < EVENTS; i++)
		LITMUS_ASSERT(seen[i] >= 1);
}

/* ---- three senders ---- */

static void thread_send(unsigned me)
{
	LITMUS_ASSERT(!evtchn_send(a, pa[me]));
}

static void check_send(void)
{
	check();
	for (unsigned i = 0; i < EVENTS; i++)
		LITMUS_ASSERT(seen[i] == 1);
}

LITMUS(senders, "fifo_senders", "each event is on the queue once", 3, 2, setup, thread_send,
       check_send);

/* ---- senders and the guest ---- */

static void thread_guest(unsigned me)
{
	if (me == 2) {
		upcall();
		upcall();
	} else {
		LITMUS_ASSERT(!evtchn_send(a, pa[me]));
		if (!me)
			LITMUS_ASSERT(!evtchn_send(a, pa[2]));
	}
}

LITMUS(guest, "fifo_guest", "each event is taken, or still found", 3, 2, setup, thread_guest,
       check);

/* ---- one event, sent again while it is queued ---- */

static void thread_again(unsigned me)
{
	LITMUS_ASSERT(!evtchn_send(a, pa[me / 2]));
	if (me == 2)
		upcall();
}

static void check_again(void)
{
	seen[2]++;
	check();
}

LITMUS(again, "fifo_again", "an event that is sent while it is being linked is not lost", 3, 2,
       setup, thread_again, check_again);

/* ---- the ABI changes under a sender ---- */

static void thread_abi(unsigned me)
{
	if (me)
		set_abi();
	else
		LITMUS_ASSERT(!evtchn_send(a, pa[0]));
}

static void check_abi(void)
{
	LITMUS_ASSERT(!evtchn_fifo_expand_array(b, ARRAY));
	seen[1]++;
	seen[2]++;
	check();
}

LITMUS(abi, "ec_abi", "what is sent while the ABI changes arrives in the new one", 2, 2,
       setup_links, thread_abi, check_abi);

/* ---- the event words come after the event ---- */

static void setup_array(void)
{
	setup_links();
	set_abi();
}

static void thread_array(unsigned me)
{
	if (me)
		LITMUS_ASSERT(!evtchn_fifo_expand_array(b, ARRAY));
	else
		LITMUS_ASSERT(!evtchn_send(a, pa[0]));
}

static void check_array(void)
{
	seen[1]++;
	seen[2]++;
	check();
}

LITMUS(array, "ec_fifo_array", "an event that was early is raised when its word is there", 2, 3,
       setup_array, thread_array, check_array);
