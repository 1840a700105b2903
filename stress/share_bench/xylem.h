/* SPDX-License-Identifier: MIT */
/* Xylem's sharing on the images: the scanner's own steps (memsvc/scan_impl.h) on domains whose
 * memory the machine's MMU maps (view.h). */
#ifndef SHARE_BENCH_XYLEM_H
#define SHARE_BENCH_XYLEM_H

#include "stress/share_bench/images.h"

struct xylem_result {
	uint64_t merged; /* pages saved: mapped pages less frames, as the kernel's tables say */
	double cpu_s;	 /* of the whole process, the writer and its faults included */
	double guard_s, hash_s, map_s; /* of that, the scanner's three steps */
	uint64_t scanned, guessed, faults, remaps;
	uint64_t wrong;
	bool maps_short; /* ended early: vm.max_map_count */
	struct writer writer;
};

/** xylem_run() - once per process. Fill the images, scan all of them once, check. */
void xylem_run(struct images *im, unsigned rate, struct xylem_result *out);

#endif
