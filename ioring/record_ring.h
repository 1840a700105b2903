/* SPDX-License-Identifier: MIT */
/*
 * Whole records over a byte ring (byte_ring.h, whose two handles are used as they are): each is a
 * 32-bit length and that many bytes, gathered from pieces, never split, never half visible. No
 * notification is asked for or given: who needs one has his own.
 *
 * Invariant: [cons, prod) holds whole records.
 * Linearization: putting at the store of prod, which comes after all pieces; taking at that of cons.
 * Orders: as in byte_ring.h, PAIRS: byte_ring_prod, PAIRS: byte_ring_cons. Both stores are seq_cst,
 *   so a seq_cst look at something else that follows one is not done before it (see
 *   percpu/log.h for such a use).
 * The writer is not trusted: a length that does not fit into what is there is BYTE_RING_BROKEN, and
 *   it is read once: the reader passes back what record_ring_next() told it.
 * Reclamation: none; the memory is the caller's.
 */
#ifndef IORING_RECORD_RING_H
#define IORING_RECORD_RING_H

#include "ioring/byte_ring.h"

struct record_piece {
	const void *p;
	uint32_t len;
};

/**
 * record_ring_put() - append one record made of @n pieces. False when there is no room for all of
 * it (or the reader's index is nonsense): nothing was changed. A record may not be empty. Writer.
 */
static inline bool record_ring_put(struct byte_ring *w, const struct record_piece *piece,
				   unsigned n)
{
	long room = byte_ring_room(w);
	uint32_t len = 0, at = w->pvt;

	for (unsigned i = 0; i < n; i++)
		len += piece[i].len;
	if (room < (long)(sizeof(len) + len))
		return false;
	byte_ring_copy_in(w, at, &len, sizeof(len));
	at += sizeof(len);
	for (unsigned i = 0; i < n; at += piece[i++].len)
		byte_ring_copy_in(w, at, piece[i].p, piece[i].len);
	w->pvt = at;
	/* PAIRS: byte_ring_prod */
	byte_ring_store(w->prod, w->pvt);
	return true;
}

/** record_ring_next() - length of the oldest record, 0: there is none, or BYTE_RING_BROKEN. Reader. */
static inline long record_ring_next(const struct byte_ring *r)
{
	long avail = byte_ring_avail(r);
	uint32_t len;

	if (avail <= 0)
		return avail;
	if (avail < (long)sizeof(len))
		return BYTE_RING_BROKEN;
	byte_ring_copy_out(r, r->pvt, &len, sizeof(len));
	return len && len <= (unsigned long)avail - sizeof(len) ? (long)len : BYTE_RING_BROKEN;
}

/** record_ring_copy() - bytes [@from, @from + @n) of the oldest record, all inside it. Reader. */
static inline void record_ring_copy(const struct byte_ring *r, uint32_t from, void *dst, uint32_t n)
{
	byte_ring_copy_out(r, r->pvt + (uint32_t)sizeof(uint32_t) + from, dst, n);
}

/** record_ring_take() - drop the oldest record, of @len bytes by record_ring_next(). Reader. */
static inline void record_ring_take(struct byte_ring *r, long len)
{
	r->pvt += (uint32_t)(sizeof(uint32_t) + (uint32_t)len);
	/* PAIRS: byte_ring_cons */
	byte_ring_store(r->cons, r->pvt);
}

#endif
