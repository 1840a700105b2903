/* SPDX-License-Identifier: MIT */
/*
 * The domain builder: makes a PV domain from a configuration and boot modules, in the start-of-day
 * layout that <xen/xen.h> describes above struct start_info.
 */
#ifndef CORE_BUILDER_H
#define CORE_BUILDER_H

#include "core/config.h"
#include "core/elf.h"
#include "core/types.h"

struct domain;

/* Where each bootstrap element lies; pfns are also byte offsets >> 12 from virt_base. */
struct build_layout {
	uint64_t virt_base, entry;
	uint64_t nr_pages;
	uint64_t kernel_end;		   /* pfn after the kernel */
	uint64_t initrd_pfn, initrd_pages; /* anywhere; mapped unless by pfn */
	uint64_t initrd_size;
	bool initrd_mapped;
	uint64_t p2m_pfn, p2m_pages; /* the mfn_list's own pages */
	uint64_t p2m_va;	     /* virtual address of mfn_list */
	bool p2m_apart;		     /* at INIT_P2M, with its own page tables */
	uint64_t start_info_pfn, console_pfn;
	uint64_t pt_pfn, pt_pages;	   /* boot page tables; L4 first */
	uint64_t p2m_pt_pfn, p2m_pt_pages; /* tables of the INIT_P2M mapping, behind its pages */
	uint64_t stack_pfn;
	uint64_t map_pages; /* [0, map_pages) is mapped at virt_base */
	uint64_t last_pfn;  /* all of the above lies below it */
};

/**
 * build_layout() - lay a domain out. Pure arithmetic.
 * Returns 0, or -XEN_ENOMEM with a reason when the memory is too small.
 */
int build_layout(struct build_layout *l, const struct elf_kernel *k, uint64_t nr_pages,
		 uint64_t initrd_size, char *why, size_t why_len);

/**
 * domain_build() - create and fill a domain; it is ready for domain_start().
 * @id: its domain id, 0 for any. @mods, @n: the boot modules kernel= and initrd= name.
 * Returns 0 and the domain, or a negated errno and one line in @why; what it held
 * then comes back (domain_destroy()). -XEN_EAGAIN: memory is short, and the
 * controller makes room; call again some ms later.
 * May run on several pCPUs at once; in the hypervisor's own context, not a guest's.
 */
int domain_build(const struct guest_config *g, domid_t id, const struct boot_module *mods,
		 unsigned n, struct domain **out, char *why, size_t why_len);

#endif
