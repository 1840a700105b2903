/* SPDX-License-Identifier: MIT */
/*
 * Host swap: the contents of names whose frames were taken away by the hypervisor.
 *
 * A swap device keeps pages under 32-bit slot numbers. The one there is keeps them compressed in
 * memory (swap_lz4.c); what uses it knows only this interface.
 *
 * No page is lost: a name becomes SWAPPED only after its content is stored, and only if its word has
 * not changed since the frame was write-protected and settled (memsvc/name.h); a load that fails leaves the
 * name and the slot as they are, and the caller ends the domain with a reason.
 * All functions: hypervisor context, RCU online, lock-free, any pCPU, no sleeping.
 */
#ifndef MEMSVC_SWAP_H
#define MEMSVC_SWAP_H

#include "core/types.h"

struct mm;

struct swap_stats {
	uint64_t slots;	       /* in use */
	uint64_t slots_same;   /* of these, pages full of one word, which take only the slot */
	uint64_t bytes;	       /* stored for the others */
	uint64_t frames;       /* holding these bytes now, and free room */
	uint64_t table_frames; /* for the slots' records; kept for later slots */
	uint64_t limit_frames; /* most that frames may be */
	uint64_t waiting;      /* slots freed, not yet reusable */
	uint64_t stores, loads;
	uint64_t refused; /* would not get smaller than 3/4 */
	uint64_t no_room; /* limit reached or no frame free */
	uint64_t changed; /* written to by the guest while being stored */
	uint64_t damaged; /* loads whose check failed, slots that were not in use */
};

struct swap_device {
	const char *name;
	/** store: @page (of this instant; a guest may be writing) -> *@slot. 0; -XEN_E2BIG: not worth
	 * storing; -XEN_ENOMEM: no room. */
	int (*store)(struct swap_device *dev, const void *page, uint32_t *slot);
	/** load: @slot -> @page. 0; -XEN_EIO: damaged, @page is then undefined. */
	int (*load)(struct swap_device *dev, uint32_t slot, void *page);
	/** free: @slot may be reused after a grace period. False when it was not in use. */
	bool (*free)(struct swap_device *dev, uint32_t slot);
	void (*stats)(struct swap_device *dev, struct swap_stats *out);
	void (*set_limit)(struct swap_device *dev, uint64_t frames);
};

/** swap_use() - the device from now on; before anything is swapped. NULL: none. */
void swap_use(struct swap_device *dev);

/** swap_init() - set up the in-memory device for all pCPUs there are, with half of the memory as
 * its limit, and use it. Boot, BSP, all pCPUs published. 0 or -XEN_ENOMEM (then nothing is swapped). */
int swap_init(void);

/** swap_load() - the content of @slot into @page (4096 bytes). 0; -XEN_EIO: it is damaged. */
int swap_load(uint32_t slot, void *page);

/** swap_free() - the caller has taken @slot out of its name. Other vCPUs that still load it in an RCU
 * section get its content. */
void swap_free(uint32_t slot);

/** swap_stats() - now; a snapshot, exact at rest. All zero without a device. */
void swap_stats(struct swap_stats *out);

/** swap_set_limit() - most frames the store may use for content. */
void swap_set_limit(uint64_t frames);

/**
 * swap_out() - store the content of settled name @gfn (word @word, see memsvc/name.h) and take its
 * frame. 0, and the name's word in *@swapped, for name_flushed(); -XEN_EAGAIN: the guest has
 * used the name since, or it is not settled; -XEN_E2BIG: not worth storing; -XEN_ENOMEM: no room, or
 * no device. On errors the name is as it was.
 */
int swap_out(struct mm *mm, gfn_t gfn, uint64_t word, uint64_t *swapped);

/**
 * swap_pump() - swap out names of @mm chosen at random, up to @want. Does a step of about 1 ms and
 * never waits: names are guarded and flushed by one call, and stored by a later one, after a grace
 * period; so the first calls return 0. Call it again with what is still wanted, from the same pCPU,
 * with its exit path between. A page that was refused is not tried again before its guest has
 * written to it, and then left alone for some visits more. Returns how many names this call has
 * swapped out.
 */
unsigned swap_pump(struct mm *mm, unsigned want);

/** swap_pump_stop() - forget what is under way for @mm; before its teardown. Same pCPU. */
void swap_pump_stop(struct mm *mm);

#endif
