/* SPDX-License-Identifier: MIT */
/* The swap device in use, and names that go there; see swap.h. */
#include "memsvc/swap.h"

#include "core/xen_errno.h"
#include "memsvc/name.h"
#include "memsvc/p2m.h"
#include "memsvc/swap_lz4.h"
#include "memsvc/swap_pump.h"
#include "percpu/pcpu.h"

/* Set at boot. */
static struct swap_device *device;
static struct counter nr_changed = {.name = "swap_changed"};

void swap_use(struct swap_device *dev)
{
	counter_register(&nr_changed);
	device = dev;
}

int swap_init(void)
{
	struct swap_device *dev = swap_lz4_init(nr_pcpus(), frames_total() / 2);

	if (!dev || swap_pump_init(nr_pcpus()))
		return -XEN_ENOMEM;
	swap_use(dev);
	return 0;
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
	if (!device)
		return;
	device->stats(device, out);
	out->changed = counter_sum(&nr_changed);
}

void swap_set_limit(uint64_t frames)
{
	if (device)
		device->set_limit(device, frames);
}

int swap_out(struct mm *mm, gfn_t gfn, uint64_t word, uint64_t *swapped)
{
	uint32_t slot;
	int rc;

	if (!device)
		return -XEN_ENOMEM;
	if (!word || name_settled_word(mm, gfn) != word)
		return -XEN_EAGAIN;
	/* The frame stays in this RCU section even if the guest lets it go now. */
	rc = device->store(device, arch_mfn_to_virt(p2m_mfn(word)), &slot);
	if (rc)
		return rc;
	*swapped = name_set_swapped(mm, gfn, word, slot);
	if (*swapped)
		return 0;
	swap_free(slot);
	counter_inc(&nr_changed);
	return -XEN_EAGAIN;
}
