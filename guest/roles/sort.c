/* SPDX-License-Identifier: MIT */
#include "roles/sort.h"

static void sift(uint64_t *a, size_t i, size_t n)
{
	for (size_t c; (c = 2 * i + 1) < n; i = c) {
		uint64_t t = a[i];

		if (c + 1 < n && a[c + 1] > a[c])
			c++;
		if (t >= a[c])
			return;
		a[i] = a[c];
		a[c] = t;
	}
}

void heap_sort(uint64_t *a, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift(a, i, n);
	while (n > 1) {
		uint64_t t = a[0];

		a[0] = a[--n];
		a[n] = t;
		sift(a, 0, n);
	}
}
