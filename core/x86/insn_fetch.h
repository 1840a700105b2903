/* SPDX-License-Identifier: MIT */
/*
 * Fetch and decode the current guest's instruction. A kernel stores to its page tables from a
 * handful of places, so each pCPU keeps a few decoded instructions. Decoding depends on the bytes
 * alone and the key is the bytes, read anew each time: an entry can't be stale.
 */
#ifndef CORE_X86_INSN_FETCH_H
#define CORE_X86_INSN_FETCH_H

#include "core/x86/decode.h"

/**
 * insn_fetch() - the instruction at guest address @rip, or NULL when its bytes can't be read or it
 * is none that insn_decode() knows. Valid until the next call on this pCPU.
 */
const struct insn *insn_fetch(uint64_t rip);

#endif
