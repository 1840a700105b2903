/* SPDX-License-Identifier: MIT */
/*
 * Room for compressed pages: frames cut into 63 granules of 64 bytes behind a header of 64.
 *
 * An object is a chain of fragments, each a run of granules in one frame that begins with the word
 * of the next fragment. So any free granule serves any object: there are no size classes, nothing
 * is rounded up by more than a granule, and an object may lie across frames.
 *
 * map, in the frame's header: bit i (1..63) = granule i is free, bit 0 = HELD.
 * Invariant: only the holder of a frame takes granules from it or frees the frame; whoever sets HELD
 * is the holder. A pCPU holds the frame it fills. A holder may pass the frame on through `partial`,
 * one bit per machine frame: who clears that bit is the holder from then on.
 * Giving a run back sets its bits; when nobody holds the frame and a good part of it is free, it sets
 * HELD with them and passes the frame on, or frees it if all is free. When the frame is held and all
 * of it is free: clear its bit in partial, and if that was set, free it.
 *   passing on:  set the bit in partial; read map              (PAIRS: swap_partial)
 *   giving back: set bits in map; clear the bit in partial     (PAIRS: swap_partial)
 * both sequentially consistent, so of the last run given back and the frame passed on at the same
 * time one sees the other, and no frame stays behind empty.
 * Linearization: a run is taken and given back at the change of its map.
 * Reclamation: callers give back runs that no reader can reach (after a grace period). Frames are
 * freed by RCU, since who has given back a run may still look at the map. A partial bit may be
 * tried for a frame that was freed and has another use: it is clear then, or the frame's map is
 * read by its holder and found not to be empty.
 * Lock-free; per-pCPU state in struct swap_space_pcpu, sums of its counters are exact at rest.
 */
#ifndef MEMSVC_SWAP_SPACE_H
#define MEMSVC_SWAP_SPACE_H

#include "core/types.h"
#include "memsvc/frame.h"

#define SWAP_GRANULE 64u
#define SWAP_FRAME_GRANULES 63u
/* A fragment carries at least this much. */
#define SWAP_FRAGMENT_MIN (SWAP_GRANULE - sizeof(uint64_t))
#define SWAP_OBJECT_MAX 3072u
#define SWAP_FRAGMENTS_MAX (SWAP_OBJECT_MAX / SWAP_FRAGMENT_MIN + 1)

/* Private to its pCPU. */
struct swap_space_pcpu {
	uint64_t frame; /* mfn of the frame it fills, 0: none */
	uint64_t from;	/* where it looked last in the summary of partial */
};

/** swap_space_init() - no frames yet, at most @limit. Boot, or nothing is stored. 0, -XEN_ENOMEM. */
int swap_space_init(uint64_t limit);

/** swap_space_set_limit() - frames the store may have; those beyond it are not given back by this. */
void swap_space_set_limit(uint64_t frames);
uint64_t swap_space_limit(void);

/** swap_space_frames() - frames held now, those a pCPU is filling included. */
uint64_t swap_space_frames(void);

/** swap_space_put() - store @len (1..SWAP_OBJECT_MAX) bytes. The object's word, or 0 when the limit
 * is reached or no frame is free. This pCPU. */
uint64_t swap_space_put(struct swap_space_pcpu *sp, const void *data, unsigned len);

/**
 * swap_space_get() - the @len bytes of object @word: their address in the store when they lie in one
 * fragment, else @buf, to which they were copied. NULL when the chain is not sound. RCU section.
 */
const void *swap_space_get(uint64_t word, void *buf, unsigned len);

/** swap_space_free() - give an object of @len bytes back; no reader is left. False when the chain is
 * not sound (what follows is not given back). RCU online. */
bool swap_space_free(uint64_t word, unsigned len);

/** swap_space_granules() - granules an object of @len bytes takes at least. */
static inline unsigned swap_space_granules(unsigned len)
{
	return DIV_ROUND_UP(len + (unsigned)sizeof(uint64_t), SWAP_GRANULE);
}

#endif
