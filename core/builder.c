/* SPDX-License-Identifier: MIT */
#include "core/builder.h"

#include "core/arch.h"
#include "core/builder_impl.h"
#include "core/domain.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "memsvc/memctl.h"
#include "percpu/tlb.h"

#define PIN_TRIES 1000000 /* each makes progress; only a bug gets this far */

#define refuse(b, err, ...) (fmt_snprintf((b)->why, (b)->why_len, __VA_ARGS__), -(err))

void *build_page(struct build *b, uint64_t pfn)
{
	mfn_t m = mm_gfn_get_writable(&b->d->mm, GFN(pfn));

	if (unlikely(!mfn_valid_value(m))) {
		b->no_memory = true;
		m = b->spare;
	}
	return arch_mfn_to_virt(m);
}

void build_copy(struct build *b, uint64_t at, const void *src, uint64_t len)
{
	const char *from = src;

	while (len) {
		uint64_t off = at & ~PAGE_MASK;
		uint64_t n = MIN(len, PAGE_SIZE - off);

		memcpy((char *)build_page(b, at >> PAGE_SHIFT) + off, from, n);
		from += n;
		at += n;
		len -= n;
		tlb_serve();
	}
}

static void load_kernel(struct build *b)
{
	const struct elf_kernel *k = &b->kernel;

	/* Memory is zero already: what lies between filesz and memsz needs nothing. */
	for (unsigned i = 0; i < k->nr_segments; i++)
		build_copy(b, k->seg[i].paddr, k->image + k->seg[i].offset, k->seg[i].filesz);
	if (k->has_hypercall_page)
		arch_hypercall_page(
			build_page(b, (k->hypercall_page - k->virt_base) >> PAGE_SHIFT));
}

static void fill_p2m(struct build *b)
{
	const uint64_t per_page = PAGE_SIZE / sizeof(uint64_t);

	for (uint64_t i = 0; i < b->l.p2m_pages; i++) {
		uint64_t *p = build_page(b, b->l.p2m_pfn + i);

		for (uint64_t k = 0; k < per_page; k++) {
			uint64_t pfn = i * per_page + k;

			p[k] = pfn < b->l.nr_pages ? pfn : UINT64_MAX;
		}
		tlb_serve();
	}
}

static int setup_console(struct build *b, evtchn_port_t *port)
{
	mfn_t m = mm_gfn_pin_special(&b->d->mm, GFN(b->l.console_pfn));
	int rc;

	if (!mfn_valid_value(m))
		return refuse(b, XEN_ENOMEM, "not enough host memory for its console page");
	rc = console_set_ring(b->d, arch_mfn_to_virt(m), port);
	return rc ? refuse(b, -rc, "cannot set up the console (error %d)", -rc) : 0;
}

static void fill_start_info(struct build *b, const char *cmdline, evtchn_port_t console_port)
{
	const struct build_layout *l = &b->l;
	start_info_t *si = build_page(b, l->start_info_pfn);

	str_copy(si->magic, "xen-3.0-x86_64", sizeof(si->magic));
	si->nr_pages = l->nr_pages;
	si->shared_info = b->d->shared_gfn.v << PAGE_SHIFT;
	/* There are no tools that would walk the three-level P2M tree. */
	si->flags = SIF_VIRT_P2M_4TOOLS;
	si->console.domU.mfn = l->console_pfn;
	si->console.domU.evtchn = console_port;
	si->pt_base = l->virt_base + l->pt_pfn * PAGE_SIZE;
	si->nr_pt_frames = l->pt_pages;
	si->mfn_list = l->p2m_va;
	if (l->p2m_apart) {
		si->first_p2m_pfn = l->p2m_pfn;
		si->nr_p2m_frames = l->p2m_pages + l->p2m_pt_pages;
	}
	if (l->initrd_pages) {
		si->mod_len = l->initrd_size;
		if (l->initrd_mapped) {
			si->mod_start = l->virt_base + l->initrd_pfn * PAGE_SIZE;
		} else {
			si->mod_start = l->initrd_pfn;
			si->flags |= SIF_MOD_START_PFN;
		}
	}
	str_copy((char *)si->cmd_line, cmdline, sizeof(si->cmd_line));
}

/* Make the L4 live and let vCPU 0 start there. */
static int setup_vcpu0(struct build *b)
{
	const struct build_layout *l = &b->l;
	gfn_t l4 = GFN(l->pt_pfn);
	unsigned tries = 0;
	int rc;

	do {
		rc = mm_pin(&b->d->mm, l4, 4);
		tlb_serve();
	} while (rc == MM_PREEMPTED && ++tries < PIN_TRIES);
	if (rc)
		return refuse(b, rc < 0 ? -rc : XEN_EBUSY, "cannot pin the boot page tables (%d)",
			      rc);
	do {
		rc = arch_vcpu_boot_context(b->d->vcpu[0], l->entry,
					    l->virt_base + (l->stack_pfn + 1) * PAGE_SIZE,
					    l->virt_base + l->start_info_pfn * PAGE_SIZE, l4);
		tlb_serve();
	} while (rc == MM_PREEMPTED && ++tries < PIN_TRIES);
	return rc ? refuse(b, rc < 0 ? -rc : XEN_EBUSY, "cannot load the boot page tables (%d)", rc)
		  : 0;
}

static int check_pin(struct build *b, const struct guest_config *g)
{
	unsigned cpu;

	if (!g->pinned)
		return 0;
	for_each_cpu_in(cpu, &g->pin)
	{
		if (cpu >= nr_pcpus())
			return refuse(b, XEN_EINVAL, "pin=: there is no pCPU %u, only 0 to %u", cpu,
				      nr_pcpus() - 1);
	}
	return 0;
}

/* Pages that the domain has from the start; the others come when it touches them. */
static uint64_t to_load(const struct build *b)
{
	uint64_t pages = b->l.initrd_pages + b->l.p2m_pages + 2 * b->l.pt_pages;

	for (unsigned i = 0; i < b->kernel.nr_segments; i++)
		pages += DIV_ROUND_UP(b->kernel.seg[i].filesz, PAGE_SIZE);
	return pages;
}

/* Everything that can be refused before memory is taken. */
static int plan(struct build *b, const struct guest_config *g, const struct boot_module *mods,
		unsigned n)
{
	const struct boot_module *kernel = boot_module_find(mods, n, g->kernel);
	uint64_t pages = g->mem_bytes >> PAGE_SHIFT;
	int rc;

	if (!kernel)
		return refuse(b, XEN_ENOENT, "there is no module '%s' for its kernel", g->kernel);
	if (g->initrd[0]) {
		b->initrd = boot_module_find(mods, n, g->initrd);
		if (!b->initrd)
			return refuse(b, XEN_ENOENT, "there is no module '%s' for its initrd",
				      g->initrd);
	}
	if (g->vcpus < 1 || g->vcpus > MAX_VCPUS)
		return refuse(b, XEN_EINVAL, "%u vCPUs: 1 to %u are possible", g->vcpus, MAX_VCPUS);
	if (pages > MM_MAX_NAMES - MM_SPECIAL_NAMES)
		return refuse(b, XEN_EINVAL, "%lu MiB of memory: at most %lu are possible",
			      (unsigned long)(pages >> 8), (MM_MAX_NAMES - MM_SPECIAL_NAMES) >> 8);
	rc = check_pin(b, g);
	if (rc)
		return rc;
	rc = elf_parse(arch_mfn_to_virt(MFN(kernel->start >> PAGE_SHIFT)), kernel->size, &b->kernel,
		       b->why, b->why_len);
	if (rc)
		return rc;
	rc = build_layout(&b->l, &b->kernel, pages, b->initrd ? b->initrd->size : 0, b->why,
			  b->why_len);
	if (rc)
		return rc;
	if (memctl_reserve(to_load(b)))
		return 0;
	return refuse(b, XEN_EAGAIN,
		      "not enough host memory: to load it takes %lu MiB, %lu are free",
		      (unsigned long)(to_load(b) >> 8), (unsigned long)(frames_free_count() >> 8));
}

static int create(struct build *b, const struct guest_config *g, domid_t id)
{
	struct domain_params p = {
		.name = g->name,
		.kind = g->kind,
		.id = id,
		.vcpus = g->vcpus,
		.nr_pages = b->l.nr_pages,
		.sched = {.weight = g->weight},
	};
	int rc;

	if (g->warp) {
		p.sched.warp_us = g->warp_us;
		p.sched.warp_limit_us = g->warp_limit_us;
		p.sched.unwarp_us = g->unwarp_us;
	}
	if (g->pinned)
		p.sched.pin = g->pin;
	rc = domain_create(&b->d, &p);
	return rc ? refuse(b, -rc, "cannot create the domain (error %d)", -rc) : 0;
}

/* Promise it its minimum, and create it. */
static int admit(struct build *b, const struct guest_config *g, domid_t id)
{
	uint64_t max = b->l.nr_pages, min = policy_default_min(max), charge;
	int rc;

	if (g->min_bytes != CONFIG_DEFAULT)
		min = g->min_bytes >> PAGE_SHIFT;
	rc = memctl_admit(max, min, g->vcpus, &charge, b->why, b->why_len);
	if (rc)
		return rc;
	rc = create(b, g, id);
	if (rc)
		memctl_unadmit(charge);
	/* Others have been faster; or what such a try had taken is still being returned. */
	if (rc == -XEN_ENOMEM || (id && rc == -XEN_EEXIST))
		return -XEN_EAGAIN;
	if (!rc)
		memctl_domain_init(b->d, max, min,
				   g->shares ? g->shares : policy_default_shares(max), charge);
	return rc;
}

static int fill(struct build *b, const struct guest_config *g)
{
	evtchn_port_t port;
	int rc;

	mm_promise_all(&b->d->mm);
	load_kernel(b);
	if (b->initrd)
		build_copy(b, b->l.initrd_pfn * PAGE_SIZE,
			   arch_mfn_to_virt(MFN(b->initrd->start >> PAGE_SHIFT)), b->initrd->size);
	fill_p2m(b);
	rc = setup_console(b, &port);
	if (rc)
		return rc;
	fill_start_info(b, g->cmdline, port);
	build_tables(b);
	if (b->no_memory)
		return refuse(b, XEN_EAGAIN, "not enough host memory to load it: %lu MiB are free",
			      (unsigned long)(frames_free_count() >> 8));
	return setup_vcpu0(b);
}

int domain_build(const struct guest_config *g, domid_t id, const struct boot_module *mods,
		 unsigned n, struct domain **out, char *why, size_t why_len)
{
	struct build b = {.why = why, .why_len = why_len};
	int rc = plan(&b, g, mods, n);

	if (rc)
		return rc;
	rc = admit(&b, g, id);
	if (rc) {
		memctl_unreserve(to_load(&b));
		return rc;
	}
	b.spare = page_alloc(PAGE_ALLOC_ZERO);
	rc = mfn_valid_value(b.spare) ? fill(&b, g)
				      : refuse(&b, XEN_ENOMEM, "no host memory is left");
	if (mfn_valid_value(b.spare))
		page_free(b.spare);
	memctl_unreserve(to_load(&b));
	if (rc) {
		domain_destroy(b.d);
		/* To load it there was enough: others have been faster. */
		return rc == -XEN_ENOMEM ? -XEN_EAGAIN : rc;
	}
	*out = b.d;
	return 0;
}
