/* SPDX-License-Identifier: MIT */
/*
 * Reading whole pages: hash, zero test, comparison. Scalar code, since the hypervisor has no vector
 * registers of its own; compiled the same way in both builds, so that a figure of one holds for the
 * other.
 *
 * A page may be written while it is read here. What comes out is then worth nothing, and whoever
 * uses it finds out: the CAS that would act on it fails, because a guest's write to a guarded page
 * changes the name's word first. Therefore the file is not instrumented by ThreadSanitizer.
 */
#ifndef MEMSVC_PAGE_HASH_H
#define MEMSVC_PAGE_HASH_H

#include "core/types.h"

#define SKETCH_STEP 512

/** page_hash_seed() - choose the hash function of this run; before the first page_hash(). A guest
 * that doesn't know the seed can't prepare pages that all fall on one entry. */
void page_hash_seed(uint64_t seed);

/** page_hash() - 64-bit hash of a page's contents (XXH64), always odd. @page: page-aligned, direct
 * map. Any context. */
uint64_t page_hash(const void *page) __attribute__((nonnull));

/** page_hash_ahead() - the same; meanwhile @next, the page to be read after this one, is fetched into
 * the cache: on memory that is not cached this makes the difference between half of a core's read
 * bandwidth and nearly all of it. */
uint64_t page_hash_ahead(const void *page, const void *next) __attribute__((nonnull));

/**
 * page_sketch() - hash of a sample of the page's contents, one line of each SKETCH_STEP bytes: for a
 * page that has no equal, all that need be read of it. Always odd; 0 when the sample has zeroes only
 * and so tells nothing. Pages that differ may have one sketch. The lines that the sketch of @next
 * needs are fetched into the cache.
 */
uint64_t page_sketch(const void *page, const void *next) __attribute__((nonnull));

/** page_is_zero() - whether all bytes are 0; leaves at the first that is not. */
bool page_is_zero(const void *page);

/** page_equal() - whether two pages have the same contents. */
bool page_equal(const void *a, const void *b);

/** page_equal_ahead() - the same; while they are equal, two other pages, to be compared after them,
 * are fetched into the cache. */
bool page_equal_ahead(const void *a, const void *b, const void *next_a, const void *next_b);

#endif
