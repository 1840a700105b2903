/* SPDX-License-Identifier: MIT */
/* memory_op; ABI: <xen/memory.h>. The operation is in bits 0-5, the first extent to do above. */
#include "memsvc/hc_common.h"

#include <xen/memory.h>

#define EXTENT_SHIFT 6
#define CMD_MASK ((1u << EXTENT_SHIFT) - 1)
#define MAX_ORDER 9 /* largest extent an unprivileged domain may ask for, as in Xen */

struct e820entry {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));
#define E820_RAM 1

/* 0, -XEN_ESRCH, -XEN_EPERM. */
static int check_domid(domid_t id)
{
	if (id == DOMID_SELF || id == current_vcpu()->domain->id)
		return 0;
	return domain_by_id(id) ? -XEN_EPERM : -XEN_ESRCH;
}

static bool decrease(struct mm *mm, uint64_t gfn, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (mm_decrease(mm, GFN(gfn + i)))
			return false;
	return true;
}

static bool populate(struct mm *mm, uint64_t gfn, uint64_t n)
{
	if (gfn >= mm->max_pages || n > mm->max_pages - gfn)
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (mm_gfn_exists(mm, GFN(gfn + i)))
			return false;
	/* Frames come at first touch. */
	for (uint64_t i = 0; mm->promised && i < n; i++)
		if (mm_promise(mm, GFN(gfn + i)))
			return false;
	return mm->promised || mm_populate(mm, GFN(gfn), n) == n;
}

#define FIND_STEPS (1u << 18) /* names one search looks at: a few ms */

/* A run of @n names without frames, from the hint on, once around or as far as one search goes; the
 * next goes on from there. */
static bool find_free(struct mm *mm, uint64_t n, uint64_t *gfn)
{
	uint64_t start = atomic_load_explicit(&mm->grow_hint, memory_order_relaxed);

	for (uint64_t k = 0, steps = 0; k <= mm->max_pages / n; k++) {
		uint64_t g = ((start / n + k) * n) % ROUND_UP(mm->max_pages, n), i = 0;

		if (steps > FIND_STEPS) {
			atomic_store_explicit(&mm->grow_hint, g, memory_order_relaxed);
			return false;
		}
		if (g + n > mm->max_pages)
			continue;
		while (i < n && !mm_gfn_exists(mm, GFN(g + i)))
			i++;
		steps += i + 1;
		if (i < n)
			continue;
		atomic_store_explicit(&mm->grow_hint, g + n, memory_order_relaxed);
		*gfn = g;
		return true;
	}
	return false;
}

/* Extent number @i of the reservation; false ends the operation. Faults count as an end, too. */
static bool one_extent(struct mm *mm, unsigned op, const struct xen_memory_reservation *r,
		       uint64_t i)
{
	uint64_t at = (uint64_t)r->extent_start.p + i * sizeof(xen_pfn_t);
	uint64_t n = 1ULL << r->extent_order, gfn;

	if (op == XENMEM_increase_reservation) {
		if (!find_free(mm, n, &gfn) || !populate(mm, gfn, n))
			return false;
		return !r->extent_start.p || !copy_to_guest(at, &gfn, sizeof(gfn));
	}
	if (copy_from_guest(&gfn, at, sizeof(gfn)))
		return false;
	if (op == XENMEM_decrease_reservation)
		return decrease(mm, gfn, n);
	/* Names do not change: what was asked for is what is there. */
	return populate(mm, gfn, n) && !copy_to_guest(at, &gfn, sizeof(gfn));
}

static long reservation(unsigned op, uint64_t start, uint64_t arg)
{
	struct mm *mm = current_mm();
	struct xen_memory_reservation r;
	uint64_t i;
	int rc;

	if (copy_from_guest(&r, arg, sizeof(r)))
		return (long)start;
	if (r.nr_extents > UINT64_MAX >> EXTENT_SHIFT || start >= r.nr_extents ||
	    r.extent_order > MAX_ORDER)
		return (long)start;
	rc = check_domid(r.domid);
	if (rc)
		return rc == -XEN_ESRCH ? (long)start : rc;
	for (i = start; i < r.nr_extents; i++) {
		if (i != start && preempt_pending()) {
			hypercall_set_arg(0, op | i << EXTENT_SHIFT);
			return -HC_CONTINUE;
		}
		if (!one_extent(mm, op, &r, i))
			break;
	}
	return (long)i;
}

static long domain_value(uint64_t arg, uint64_t value)
{
	struct xen_memory_domain d;
	int rc;

	if (copy_from_guest(&d, arg, sizeof(d)))
		return -XEN_EFAULT;
	rc = check_domid(d.domid);
	return rc ? rc : (long)value;
}

static long memory_map(struct mm *mm, uint64_t arg)
{
	struct e820entry e = {0, mm->max_pages << PAGE_SHIFT, E820_RAM};
	struct xen_memory_map map;

	if (copy_from_guest(&map, arg, sizeof(map)))
		return -XEN_EFAULT;
	if (!map.nr_entries)
		return -XEN_EINVAL;
	map.nr_entries = 1;
	if (copy_to_guest((uint64_t)map.buffer.p, &e, sizeof(e)) ||
	    copy_to_guest(arg, &map, sizeof(map)))
		return -XEN_EFAULT;
	return 0;
}

static long machphys_mapping(uint64_t arg)
{
	struct xen_machphys_mapping m = {
		.v_start = MACH2PHYS_VIRT_START,
		.v_end = MACH2PHYS_VIRT_START + (mm_m2p_frames() << PAGE_SHIFT),
		.max_mfn = mm_m2p_max(),
	};

	return copy_to_guest(arg, &m, sizeof(m)) ? -XEN_EFAULT : 0;
}

/* The table's frames have no names: each 2 MiB is reported as a gap. */
static long machphys_list(uint64_t arg)
{
	struct xen_machphys_mfn_list l;
	uint64_t none = 0;

	if (copy_from_guest(&l, arg, sizeof(l)))
		return -XEN_EFAULT;
	l.nr_extents = (unsigned)MIN((uint64_t)l.max_extents, DIV_ROUND_UP(mm_m2p_frames(), 512UL));
	for (unsigned i = 0; i < l.nr_extents; i++)
		if (copy_to_guest((uint64_t)l.extent_start.p + i * sizeof(none), &none,
				  sizeof(none)))
			return -XEN_EFAULT;
	return copy_to_guest(arg, &l, sizeof(l)) ? -XEN_EFAULT : 0;
}

long do_memory_op(uint64_t cmd, uint64_t arg)
{
	struct mm *mm = current_mm();
	unsigned op = cmd & CMD_MASK;

	switch (op) {
	case XENMEM_increase_reservation:
	case XENMEM_decrease_reservation:
	case XENMEM_populate_physmap:
		return reservation(op, cmd >> EXTENT_SHIFT, arg);
	case XENMEM_current_reservation:
		return domain_value(arg, mm->promised
						 ? mm->max_pages - (uint64_t)mm_sum(mm, MMN_GONE)
						 : (uint64_t)mm_sum(mm, MMK_DATA));
	case XENMEM_maximum_reservation:
		return domain_value(arg, mm->max_pages);
	case XENMEM_maximum_gpfn:
		return domain_value(arg, mm->max_pages - 1);
	case XENMEM_maximum_ram_page:
		return (long)mm_m2p_max();
	case XENMEM_memory_map:
		return memory_map(mm, arg);
	case XENMEM_machine_memory_map:
		return -XEN_EPERM;
	case XENMEM_machphys_mapping:
		return machphys_mapping(arg);
	case XENMEM_machphys_mfn_list:
		return machphys_list(arg);
	default:
		return -XEN_ENOSYS;
	}
}
