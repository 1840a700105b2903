/* SPDX-License-Identifier: MIT */
/* percpu/inbox.h: two senders and an owner who sleeps until he is kicked. */
#include "percpu/inbox.h"

#include "core/host/host.h"
#include "stress/litmus/litmus.h"

static struct note {
	struct inbox_msg msg;
	unsigned payload;
	unsigned done;
} note[3];

static unsigned order[3], nr_done;

static void handle(struct inbox_msg *m)
{
	struct note *n = container_of(m, struct note, msg);

	LITMUS_ASSERT(n->payload == (unsigned)(n - note) + 7);
	n->done++;
	order[nr_done++] = (unsigned)(n - note);
}

static void setup(void)
{
	host_sim_init(3);
	for (unsigned i = 0; i < 3; i++)
		note[i].msg.fn = handle;
}

static void send(unsigned i)
{
	note[i].payload = i + 7;
	inbox_post(0, &note[i].msg);
}

static void thread(unsigned me)
{
	if (me == 1) {
		send(0);
		send(1);
	} else if (me == 2) {
		send(2);
	}
	while (me == 0 && nr_done < 3) {
		if (!inbox_pending(&this_pcpu()->inbox))
			litmus_idle();
		inbox_drain();
	}
}

static void check(void)
{
	unsigned at[3];

	for (unsigned i = 0; i < 3; i++) {
		LITMUS_ASSERT(note[i].done == 1);
		at[order[i]] = i;
	}
	LITMUS_ASSERT(at[0] < at[1]);
}

LITMUS(inbox, "inbox", "every message once, whole, a sender's in order; no kick is missed", 3, 0,
       setup, thread, check);
