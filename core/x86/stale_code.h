/* SPDX-License-Identifier: MIT */
/*
 * Breakpoints that are no longer there. Kernels patch live code by way of INT3: store it, store the
 * rest, store the first byte last. Under QEMU's multi-threaded TCG (seen with 7.2) the last store
 * can be missed by the translator: one thread has been through the check for translated code and
 * not yet stored when another translates the page again, with the INT3 still in it. That
 * translation is never dropped, since the page counts as free of code for the storing CPU: each
 * CPU that comes by takes #BP, finds no INT3 there, returns, and takes it again, for ever.
 *
 * Only the last store of a patch can leave such a translation (the earlier ones are followed by
 * another store, through a fresh TLB entry), so #BP is where it shows, and where it is put right:
 * any new store to the page drops its translations. On a real CPU the one #BP that may still be
 * under way when its INT3 goes makes this one atomic operation that changes nothing.
 */
#ifndef X86_STALE_CODE_H
#define X86_STALE_CODE_H

#include "core/domain.h"

/**
 * stale_code_bp() - the current vCPU @v took #BP and is to go on at @rip: if no INT3 stands before
 * @rip, store that byte again. The trap is to be delivered all the same. In the RCU section of the
 * exit; does not fault on a page that is gone.
 */
void stale_code_bp(struct vcpu *v, uint64_t rip);

#endif
