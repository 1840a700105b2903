/* SPDX-License-Identifier: MIT */
/* The scanner of memsvc/scan.h, over the torture's domains; "no-flush" leaves out its
 * flush of what it guards, "no-share-flush" that of what it has merged. */
#include "torture.h"

struct domain *torture_domain(domid_t id)
{
	if (id == mayfly_id())
		return mayfly_domain();
	return id && id <= tc.domains ? odoms[id - 1].d : NULL;
}

static void flush_guarded(struct mm *mm)
{
	if (torture_variant != V_NO_FLUSH)
		tlb_shootdown_mm(mm);
}

#define domain_by_id torture_domain
#define tlb_shootdown_mm flush_guarded
#include "../memsvc/scan.c"
#include "../memsvc/scan_pick.c"
#undef tlb_shootdown_mm
#undef POLL

static void flush_merged(struct mm *mm)
{
	if (torture_variant != V_NO_SHARE_FLUSH)
		tlb_shootdown_mm(mm);
}

#define tlb_shootdown_mm flush_merged
#undef SCAN_FLUSH_MIN
#define SCAN_FLUSH_MIN 1
#include "../memsvc/scan_settle.c"
