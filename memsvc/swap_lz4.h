/* SPDX-License-Identifier: MIT */
/*
 * Swap device in memory, compressed by liblz4.
 *
 * A page full of one 8-byte word takes only its slot. Another page is compressed and kept in
 * granules of frames (swap_space.h). One that does not get below 3/4 is refused: keeping it whole
 * would take a frame to free a frame, and the caller, who chooses at random, does better to take
 * another page.
 * The page is copied first: a guest may write to it meanwhile, and the compressor and the check must
 * see the same bytes. The check is XXH32 of the whole page, seeded with the slot's number, so that
 * damage as well as the content of another slot is found.
 * liblz4 gets all its memory from here, a state per pCPU, and runs between fpu_borrow() and
 * fpu_return().
 */
#ifndef MEMSVC_SWAP_LZ4_H
#define MEMSVC_SWAP_LZ4_H

#include "memsvc/swap.h"

/** swap_lz4_init() - the device, empty, for pCPUs 0..@pcpus-1, holding at most @limit frames of
 * content. Boot, or nothing is stored. NULL: not enough memory. */
struct swap_device *swap_lz4_init(unsigned pcpus, uint64_t limit);

#endif
