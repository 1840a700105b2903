/* SPDX-License-Identifier: MIT */
/* xen_version: what guests learn of the hypervisor. */
#include "tests/dom_sim.h"

#include <xen/version.h>

static long version(unsigned cmd, const void *arg)
{
	return sim_hc(__HYPERVISOR_xen_version, cmd, (uint64_t)arg, 0);
}

Test(xen_version, all)
{
	static char buf[1024];
	struct xen_platform_parameters pp;
	struct xen_feature_info fi = {0, 0};
	struct xen_compile_info ci;
	uint8_t handle[16];
	struct domain *d;

	sim_init(1, 8192);
	d = sim_domain(1);
	cr_assert_eq(version(XENVER_version, NULL), 4 << 16 | 17);
	cr_assert_eq(version(XENVER_pagesize, NULL), 4096);
	cr_assert_eq(version(XENVER_extraversion, buf), 0);
	cr_assert_str_eq(buf, ".xylem");
	cr_assert_eq(version(XENVER_capabilities, buf), 0);
	cr_assert_str_eq(buf, "xen-3.0-x86_64");
	cr_assert_eq(version(XENVER_changeset, buf), 0);
	cr_assert_eq(version(XENVER_commandline, buf), 0);
	cr_assert_str_eq(buf, "");
	cr_assert_eq(version(XENVER_compile_info, &ci), 0);
	cr_assert(memchr(ci.compiler, 0, sizeof(ci.compiler)));
	cr_assert_eq(version(XENVER_platform_parameters, &pp), 0);
	cr_assert_eq(pp.virt_start, 0xffff800000000000);
	cr_assert_eq(version(XENVER_get_features, &fi), 0);
	/* The guest does its own PV work: bits 0 to 3 and the HVM ones stay clear. */
	cr_assert_eq(fi.submap & 0xf, 0);
	cr_assert(fi.submap & 1u << XENFEAT_mmu_pt_update_preserve_ad);
	cr_assert_eq(fi.submap & 1u << XENFEAT_dom0, 0);
	fi.submap_idx = 1;
	cr_assert_eq(version(XENVER_get_features, &fi), -XEN_EINVAL);
	cr_assert_eq(version(XENVER_guest_handle, handle), 0);
	cr_assert_eq(memcmp(handle, d->handle, 16), 0);
	cr_assert_eq(version(XENVER_build_id, buf), -XEN_ENODATA);
	cr_assert_eq(version(100, buf), -XEN_ENOSYS);
	for (unsigned cmd = 0; cmd < 12; cmd++)
		if (cmd != XENVER_version && cmd != XENVER_pagesize && cmd < XENVER_build_id)
			cr_assert_eq(version(cmd, NULL), -XEN_EFAULT, "%u", cmd);
}
