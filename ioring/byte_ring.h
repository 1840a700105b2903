/* SPDX-License-Identifier: MIT */
/*
 * Byte streams over shared memory, one direction: a power-of-two buffer and two free-running
 * 32-bit indexes, as in struct xencons_interface (ABI: <xen/io/console.h>). The other side is not
 * trusted: our own index is kept privately and only published, theirs is read once per call and
 * checked; nonsense yields BYTE_RING_BROKEN and touches nothing.
 *
 * Invariant: bytes [cons, prod) are the reader's, the rest of the buffer is the writer's.
 * Linearization: a write at the store of prod, a read at the store of cons.
 * Orders: the store of prod releases the bytes, its load acquires them; the store of cons releases
 *   the reads (the room may be overwritten), its load acquires. PAIRS: byte_ring_prod,
 *   PAIRS: byte_ring_cons. For notification avoidance both stores are seq_cst and followed by a seq_cst
 *   load of the other index: the reader publishes cons, then looks whether the writer may have
 *   found the ring (nearly) full; the writer publishes prod, then looks whether the reader may have
 *   found it empty. Either sees the other's latest step. PAIRS: byte_ring_room.
 * Reclamation: none; the memory is the caller's.
 */
#ifndef IORING_BYTE_RING_H
#define IORING_BYTE_RING_H

#include "core/lib.h"
#include "core/types.h"

#define BYTE_RING_BROKEN (-1L)

/* One side of one direction; private to that side. */
struct byte_ring {
	char *buf;
	uint32_t size;	/* bytes, a power of two */
	uint32_t *prod; /* shared */
	uint32_t *cons; /* shared */
	uint32_t pvt;	/* our index: cons of a reader, prod of a writer */
	bool notify;	/* the other side wants to be told; the caller clears it */
};

static inline uint32_t byte_ring_load(const uint32_t *idx)
{
	return __atomic_load_n(idx, __ATOMIC_SEQ_CST);
}

static inline void byte_ring_store(uint32_t *idx, uint32_t v)
{
	__atomic_store_n(idx, v, __ATOMIC_SEQ_CST);
}

/** byte_ring_reader() - attach as reader, taking up at the present cons. */
static inline void byte_ring_reader(struct byte_ring *r, char *buf, uint32_t size, uint32_t *prod,
				    uint32_t *cons)
{
	*r = (struct byte_ring){buf, size, prod, cons, byte_ring_load(cons), false};
}

/** byte_ring_writer() - attach as writer, taking up at the present prod. */
static inline void byte_ring_writer(struct byte_ring *r, char *buf, uint32_t size, uint32_t *prod,
				    uint32_t *cons)
{
	*r = (struct byte_ring){buf, size, prod, cons, byte_ring_load(prod), false};
}

/** byte_ring_avail() - bytes to be read, or BYTE_RING_BROKEN. Reader. */
static inline long byte_ring_avail(const struct byte_ring *r)
{
	/* PAIRS: byte_ring_prod */
	uint32_t n = byte_ring_load(r->prod) - r->pvt;

	return n > r->size ? BYTE_RING_BROKEN : (long)n;
}

/** byte_ring_room() - bytes that can be written, or BYTE_RING_BROKEN. Writer. */
static inline long byte_ring_room(const struct byte_ring *r)
{
	/* PAIRS: byte_ring_cons */
	uint32_t n = r->pvt - byte_ring_load(r->cons);

	return n > r->size ? BYTE_RING_BROKEN : (long)(r->size - n);
}

/* Copy to or from the buffer at index @pos, which wraps; @n <= size. The bytes are this side's. */
static inline void byte_ring_copy_in(const struct byte_ring *r, uint32_t pos, const void *src,
				     uint32_t n)
{
	uint32_t at = pos & (r->size - 1), first = MIN(n, r->size - at);

	memcpy(r->buf + at, src, first);
	memcpy(r->buf, (const char *)src + first, n - first);
}

static inline void byte_ring_copy_out(const struct byte_ring *r, uint32_t pos, void *dst,
				      uint32_t n)
{
	uint32_t at = pos & (r->size - 1), first = MIN(n, r->size - at);

	memcpy(dst, r->buf + at, first);
	memcpy((char *)dst + first, r->buf, n - first);
}

/** byte_ring_resync() - reader: drop everything, after BYTE_RING_BROKEN. */
static inline void byte_ring_resync(struct byte_ring *r)
{
	r->pvt = byte_ring_load(r->prod);
	byte_ring_store(r->cons, r->pvt);
}

/**
 * byte_ring_read() - take up to @n bytes into @dst; returns their number or BYTE_RING_BROKEN.
 * Sets r->notify when the writer may be waiting for room: more than half full before.
 */
static inline long byte_ring_read(struct byte_ring *r, char *dst, size_t n)
{
	long avail = byte_ring_avail(r);
	uint32_t old = r->pvt;

	if (avail <= 0)
		return avail;
	n = MIN(n, (size_t)avail);
	byte_ring_copy_out(r, old, dst, (uint32_t)n);
	r->pvt += (uint32_t)n;
	/* PAIRS: byte_ring_cons, PAIRS: byte_ring_room */
	byte_ring_store(r->cons, r->pvt);
	if (byte_ring_load(r->prod) - old > r->size / 2)
		r->notify = true;
	return (long)n;
}

/**
 * byte_ring_write() - append up to @n bytes of @src; returns how many, or BYTE_RING_BROKEN.
 * Sets r->notify when the reader may have found the ring empty.
 */
static inline long byte_ring_write(struct byte_ring *r, const char *src, size_t n)
{
	long room = byte_ring_room(r);
	uint32_t old = r->pvt;

	if (room <= 0)
		return room;
	n = MIN(n, (size_t)room);
	byte_ring_copy_in(r, old, src, (uint32_t)n);
	r->pvt += (uint32_t)n;
	/* PAIRS: byte_ring_prod, PAIRS: byte_ring_room */
	byte_ring_store(r->prod, r->pvt);
	if (byte_ring_load(r->cons) == old)
		r->notify = true;
	return (long)n;
}

#endif
