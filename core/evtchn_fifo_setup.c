/* SPDX-License-Identifier: MIT */
/*
 * Switching a domain to the FIFO ABI, adding event-array pages, and going back by reset.
 *
 * The hypervisor's own state (struct evtchn_fifo and its queues) is made once and kept until the
 * domain is freed, so senders need no protection for it. Guest pages are pinned under their names
 * for the rest of the domain's life; reset only forgets where they are.
 */
#include "core/evtchn_fifo.h"
#include "core/hypercall.h"

static void put_page(void *p)
{
	if (p)
		page_free(arch_virt_to_mfn(p));
}

static void free_state(struct evtchn_fifo *f)
{
	for (unsigned i = 0; f && i < ARRAY_SIZE(f->queues); i++)
		put_page(f->queues[i]);
	put_page(f);
}

static struct evtchn_fifo *make_state(struct domain *d)
{
	struct evtchn_fifo *f = atomic_load(&d->evt.fifo), *fresh;
	unsigned pages = DIV_ROUND_UP(MIN(d->max_vcpus, MAX_VCPUS), EF_VCPUS_PER_PAGE);
	mfn_t m;

	if (f)
		return f;
	counter_register(&evtchn_fifo_busy);
	counter_register(&evtchn_fifo_handoffs);
	m = page_alloc(PAGE_ALLOC_ZERO);
	if (!mfn_valid_value(m))
		return NULL;
	fresh = arch_mfn_to_virt(m);
	for (unsigned i = 0; i < pages; i++) {
		m = page_alloc(PAGE_ALLOC_ZERO);
		if (!mfn_valid_value(m)) {
			free_state(fresh);
			return NULL;
		}
		fresh->queues[i] = arch_mfn_to_virt(m);
	}
	if (atomic_compare_exchange_strong(&d->evt.fifo, &f, fresh))
		return fresh;
	free_state(fresh);
	return f;
}

static void *pin_page(struct domain *d, uint64_t gfn)
{
	mfn_t m = mm_gfn_pin_special(&d->mm, GFN(gfn));

	return mfn_valid_value(m) ? arch_mfn_to_virt(m) : NULL;
}

/* Carry over what is pending in the bitmaps. PAIRS: ec_abi */
static int migrate(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	if (ec_kind(atomic_load(&e->state)) != EC_FREE && ec_2l_is_pending(d, port)) {
		ec_2l_clear_pending(d, port);
		ec_fifo_set_pending(d, e, port);
	}
	return 0;
}

int evtchn_fifo_init_control(struct domain *d, struct evtchn_init_control *ic)
{
	struct vcpu *v = ec_domain_vcpu(d, ic->vcpu);
	uint32_t abi = EVTCHN_ABI_2L;
	evtchn_fifo_control_block_t *none = NULL;
	struct evtchn_fifo *f;
	uint8_t *page;

	ic->link_bits = EVTCHN_FIFO_LINK_BITS;
	if (!v)
		return -XEN_ENOENT;
	if (ic->offset > PAGE_SIZE - sizeof(evtchn_fifo_control_block_t) || ic->offset % 8)
		return -XEN_EINVAL;
	f = make_state(d);
	if (!f)
		return -XEN_ENOMEM;
	if (atomic_load(&f->cb[ic->vcpu]))
		return -XEN_EINVAL;
	page = pin_page(d, ic->control_gfn);
	if (!page)
		return -XEN_EINVAL;
	if (!atomic_compare_exchange_strong(&f->cb[ic->vcpu], &none, (void *)(page + ic->offset)))
		return -XEN_EINVAL;
	/* PAIRS: ec_abi */
	if (atomic_compare_exchange_strong(&d->evt.abi, &abi, EVTCHN_ABI_FIFO))
		ec_for_each(d, migrate);
	return 0;
}

static int raise_early(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	/* PAIRS: ec_fifo_array */
	if (atomic_exchange(&e->early, false))
		ec_raise(d, e, port, ec_vcpu(atomic_load(&e->state)));
	return 0;
}

int evtchn_fifo_expand_array(struct domain *d, uint64_t array_gfn)
{
	struct evtchn_fifo *f = atomic_load(&d->evt.fifo);
	event_word_t *page;
	unsigned i;

	if (atomic_load(&d->evt.abi) != EVTCHN_ABI_FIFO)
		return -XEN_EOPNOTSUPP;
	if (atomic_load(&f->array[EF_PAGES - 1]))
		return -XEN_ENOSPC;
	page = pin_page(d, array_gfn);
	if (!page)
		return -XEN_EINVAL;
	for (i = 0; i < EF_PAGES; i++) {
		event_word_t *none = NULL;

		/* PAIRS: ec_fifo_array */
		if (atomic_compare_exchange_strong(&f->array[i], &none, page))
			break;
	}
	if (i == EF_PAGES)
		return -XEN_ENOSPC;
	ec_for_range(d, i * EF_WORDS_PER_PAGE, (i + 1) * EF_WORDS_PER_PAGE, raise_early);
	return 0;
}

void ec_fifo_detach(struct domain *d)
{
	struct evtchn_fifo *f = atomic_load(&d->evt.fifo);

	/* PAIRS: ec_abi */
	atomic_store(&d->evt.abi, EVTCHN_ABI_2L);
	for (unsigned i = 0; f && i < EF_PAGES; i++)
		atomic_store(&f->array[i], NULL);
	for (unsigned i = 0; f && i < MAX_VCPUS; i++)
		atomic_store(&f->cb[i], NULL);
}

void ec_fifo_free(struct domain *d)
{
	free_state(atomic_exchange(&d->evt.fifo, NULL));
}
