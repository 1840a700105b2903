/* SPDX-License-Identifier: MIT */
/* Linux KSM on the images. Its settings are the caller's (the launcher sets and restores them). */
#ifndef SHARE_BENCH_KSM_H
#define SHARE_BENCH_KSM_H

#include "stress/share_bench/images.h"

struct ksm_result {
	uint64_t merged;		   /* pages saved at the best moment for KSM */
	double cpu_s;			   /* of ksmd until then, and ours for madvise() */
	uint64_t saved_frames, full_scans; /* at the end */
	uint64_t wrong;
	struct writer writer; /* not part of cpu_s */
};

/** ksm_available() - whether the kernel has it and lets us. */
bool ksm_available(void);

/** ksm_run() - fill the images, let ksmd merge until it finds no more, check, and unmap them. */
void ksm_run(struct images *im, unsigned rate, struct ksm_result *out);

#endif
