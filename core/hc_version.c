/* SPDX-License-Identifier: MIT */
/* HYPERVISOR_xen_version (ABI: <xen/version.h>). */

#include "core/arch.h"
#include "core/domain.h"
#include "core/lib.h"

#include <xen/version.h>

/* The ABI version guests may rely on; the product's own name is in extraversion. */
#define XEN_ABI_MAJOR 4
#define XEN_ABI_MINOR 17

/*
 * Page tables are translated, so all machine frames are fine for an L4; MMU_PT_UPDATE_PRESERVE_AD
 * works; the software bits of grant mappings are kept. Bits that say the guest may skip PV work
 * (0 to 3) and those for HVM stay clear.
 */
static const uint32_t features[XENFEAT_NR_SUBMAPS] = {
	1u << XENFEAT_pae_pgdir_above_4gb | 1u << XENFEAT_mmu_pt_update_preserve_ad |
		1u << XENFEAT_gnttab_map_avail_bits,
};

static long give(uint64_t arg, const void *data, size_t len)
{
	return copy_to_guest(arg, data, len) ? -XEN_EFAULT : 0;
}

/* A string in an array of @size bytes, the rest zero; @size at most 1024. */
static long give_string(uint64_t arg, const char *s, size_t size)
{
	char buf[1024];

	memset(buf, 0, size);
	/* The rest is zero. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(buf, s, MIN(strlen(s), size - 1));
	return give(arg, buf, size);
}

static long compile_info(uint64_t arg)
{
	struct xen_compile_info info;

	memset(&info, 0, sizeof(info));
	memcpy(info.compiler, "gcc " __VERSION__,
	       MIN(sizeof("gcc " __VERSION__), sizeof(info.compiler) - 1));
	memcpy(info.compile_by, "xylem", sizeof("xylem"));
	memcpy(info.compile_domain, "xylem", sizeof("xylem"));
	memcpy(info.compile_date, "reproducible", sizeof("reproducible"));
	return give(arg, &info, sizeof(info));
}

static long get_features(uint64_t arg)
{
	struct xen_feature_info fi;

	if (copy_from_guest(&fi, arg, sizeof(fi)))
		return -XEN_EFAULT;
	if (fi.submap_idx >= XENFEAT_NR_SUBMAPS)
		return -XEN_EINVAL;
	fi.submap = features[fi.submap_idx];
	return give(arg, &fi, sizeof(fi));
}

long do_xen_version(uint64_t cmd, uint64_t arg)
{
	switch ((uint32_t)cmd) {
	case XENVER_version:
		return XEN_ABI_MAJOR << 16 | XEN_ABI_MINOR;
	case XENVER_extraversion:
		return give_string(arg, ".xylem", sizeof(xen_extraversion_t));
	case XENVER_compile_info:
		return compile_info(arg);
	case XENVER_capabilities:
		return give_string(arg, "xen-3.0-x86_64", sizeof(xen_capabilities_info_t));
	case XENVER_changeset:
		return give_string(arg, "xylem", sizeof(xen_changeset_info_t));
	case XENVER_platform_parameters: {
		struct xen_platform_parameters p = {.virt_start = MACH2PHYS_VIRT_START};

		return give(arg, &p, sizeof(p));
	}
	case XENVER_get_features:
		return get_features(arg);
	case XENVER_pagesize:
		return PAGE_SIZE;
	case XENVER_guest_handle: {
		const struct domain *d = current_vcpu()->domain;

		return give(arg, d->handle, sizeof(d->handle));
	}
	case XENVER_commandline:
		return give_string(arg, "", sizeof(xen_commandline_t));
	case XENVER_build_id:
		return -XEN_ENODATA; /* as a hypervisor linked without one */
	default:
		return -XEN_ENOSYS;
	}
}
