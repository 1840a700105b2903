/* SPDX-License-Identifier: MIT */
/*
 * The 2-level ABI: pending and mask bitmaps in shared_info, and per vCPU a selector of their words.
 *
 * Sender: set the pending bit; if it was clear and the mask bit is clear, set the selector bit; if
 *   that was clear, mark the upcall. Receiver (guest): clear the upcall flag, take the selector,
 *   then scan the words it names.
 * Orders: each step is a seq_cst RMW, so who finds a bit already set may leave the rest to the one
 *   who set it: the receiver has not passed that level yet and will go on to the levels below.
 *   The mask is read after the pending bit was set, and an unmasker clears the mask before it reads
 *   the pending bit: one of the two sees the other. PAIRS: ec_2l_mask (the guest is one end too).
 */
#include "core/evtchn_internal.h"

static unsigned long *word_of(xen_ulong_t *map, evtchn_port_t port)
{
	return &map[port / 64];
}

static bool test(const unsigned long *w, unsigned bit)
{
	return __atomic_load_n(w, __ATOMIC_SEQ_CST) >> bit & 1;
}

void ec_2l_clear_pending(struct domain *d, evtchn_port_t port)
{
	/* Looked at first: a close writes nothing in a line that it shares with 511 other ports. */
	if (port < EVTCHN_2L_NR_CHANNELS &&
	    test(word_of(d->shared->evtchn_pending, port), port % 64))
		__atomic_fetch_and(word_of(d->shared->evtchn_pending, port), ~(1UL << port % 64),
				   __ATOMIC_SEQ_CST);
}

void ec_2l_unmask(struct domain *d, struct vcpu *v, evtchn_port_t port)
{
	unsigned long bit = 1UL << port % 64;

	if (port >= EVTCHN_2L_NR_CHANNELS)
		return;
	/* PAIRS: ec_2l_mask */
	if ((__atomic_fetch_and(word_of(d->shared->evtchn_mask, port), ~bit, __ATOMIC_SEQ_CST) &
	     bit) &&
	    test(word_of(d->shared->evtchn_pending, port), port % 64))
		ec_select_word(v, port / 64);
}

bool ec_2l_is_pending(struct domain *d, evtchn_port_t port)
{
	return port < EVTCHN_2L_NR_CHANNELS &&
	       test(word_of(d->shared->evtchn_pending, port), port % 64);
}
