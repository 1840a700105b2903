/* SPDX-License-Identifier: MIT */
/* Heap sort of numbers, for medians and percentiles. */
#ifndef MINI_ROLES_SORT_H
#define MINI_ROLES_SORT_H

#include "rt/base.h"

/* Sort n numbers, the smallest first. */
void heap_sort(uint64_t *a, size_t n);

#endif
