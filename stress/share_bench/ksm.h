/* SPDX-License-Identifier: MIT */
/* Linux KSM on the images. Its settings are the caller's (the launcher sets and restores them). */
#ifndef SHARE_BENCH_KSM_H
#define SHARE_BENCH_KSM_H

#include "stress/share_bench/images.h"

struct ksm_result {
	uint64_t merged; /* pages saved: mapped pages less frames, as the kernel's tables say */
	double cpu_s;	 /* of ksmd for these pages, and ours for madvise() */
	uint64_t full_scans;
	uint64_t scanned; /* pages, those of other processes included; 0: the kernel does not say */
	uint64_t wrong;
	struct writer writer; /* not part of cpu_s */
};

/** ksm_available() - whether the kernel has it and lets us. */
bool ksm_available(void);

/** ksm_run() - fill the images, let ksmd merge until it finds no more, check, and unmap them. */
void ksm_run(struct images *im, unsigned rate, struct ksm_result *out);

#endif
