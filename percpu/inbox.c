/* SPDX-License-Identifier: MIT */
/* MPSC inboxes; see inbox.h for the protocol. */
#include "percpu/inbox.h"

#include "percpu/pcpu.h"

bool inbox_push(struct inbox *in, struct inbox_msg *msg)
{
	struct inbox_msg *head = atomic_load_explicit(&in->head, memory_order_relaxed);
	CAS_LOOP(loop, "inbox");

	do {
		msg->next = head;
		/* PAIRS: inbox_publish */
	} while (!atomic_compare_exchange_weak_explicit(&in->head, &head, msg, memory_order_release,
							memory_order_relaxed) &&
		 retry(&loop));
	return head == NULL;
}

struct inbox_msg *inbox_take(struct inbox *in)
{
	struct inbox_msg *list = NULL;
	struct inbox_msg *m;

	if (!inbox_pending(in))
		return NULL;
	/* PAIRS: inbox_publish */
	m = atomic_exchange_explicit(&in->head, NULL, memory_order_acquire);
	while (m) {
		struct inbox_msg *next = m->next;

		m->next = list;
		list = m;
		m = next;
	}
	return list;
}

void inbox_post(unsigned cpu, struct inbox_msg *msg)
{
	struct pcpu *self = this_pcpu();
	bool first = inbox_push(&pcpu_get(cpu)->inbox, msg);

	/* msg may be gone by now. */
	if (self && cpu == self->id)
		self->work |= WORK_INBOX;
	else if (first)
		arch_kick(cpu);
}

void inbox_drain(void)
{
	struct pcpu *p = this_pcpu();
	struct inbox_msg *m;

	p->work &= ~WORK_INBOX;
	m = inbox_take(&p->inbox);
	while (m) {
		struct inbox_msg *next = m->next;

		m->fn(m);
		m = next;
	}
}
