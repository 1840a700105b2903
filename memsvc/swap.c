/* SPDX-License-Identifier: MIT */
/* The swap device in use, and names that go there; see swap.h. */
#include "memsvc/swap.h"

#include "core/xen_errno.h"
#include "memsvc/frame.h"
#include "memsvc/swap_lz4.h"
#include "percpu/pcpu.h"

/* Set at boot. */
static struct swap_device *device;

void swap_use(struct swap_device *dev)
{
	device = dev;
}

int swap_init(void)
{
	struct swap_device *dev = swap_lz4_init(nr_pcpus(), frames_total() / 2);

	swap_use(dev);
	return dev ? 0 : -XEN_ENOMEM;
}

int swap_load(uint32_t slot, void *page)
{
	return device ? device->load(device, slot, page) : -XEN_EIO;
}

void swap_free(uint32_t slot)
{
	if (device)
		(void)device->free(device, slot); /* counted when it was not in use */
}

void swap_stats(struct swap_stats *out)
{
	*out = (struct swap_stats){0};
	if (device)
		device->stats(device, out);
}

void swap_set_limit(uint64_t frames)
{
	if (device)
		device->set_limit(device, frames);
}
