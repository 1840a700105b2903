/* SPDX-License-Identifier: MIT */
/* Granules for compressed pages; see swap_space.h. */
#include "memsvc/swap_space.h"

#include "core/lib.h"
#include "core/xen_errno.h"
#include "percpu/pcpu.h"

#define HELD 1ULL
#define ALL (~HELD)
/* A frame with fewer free granules is not worth a visit: objects would be shredded. */
#define PARTIAL_MIN 8
/* Words of the summary looked through before a fresh frame is taken instead. */
#define LOOK 64

struct header {
	_Atomic uint64_t map;
	uint64_t pad[7];
};
_Static_assert(sizeof(struct header) == SWAP_GRANULE, "granule 0");

/* word: count 0-5, first granule 6-11, mfn 12-47 */
#define WORD(m, first, count) ((m) << 12 | (uint64_t)(first) << 6 | (count))
#define WORD_MFN(w) ((w) >> 12)
#define WORD_FIRST(w) ((unsigned)((w) >> 6) & 63)
#define WORD_COUNT(w) ((unsigned)(w)&63)

static struct {
	_Atomic uint64_t *partial; /* bit per mfn */
	_Atomic uint64_t *summary; /* bit per word of partial: it may have one set */
	uint64_t nr_summary;
	_Atomic uint64_t limit;
	/* One write per 63 granules stored and per frame freed. */
	_Atomic uint64_t frames CACHE_ALIGNED;
} space;

static struct header *header_of(uint64_t m)
{
	return arch_mfn_to_virt(MFN(m));
}

static uint64_t run_mask(unsigned first, unsigned count)
{
	return (count == 64 ? ~0ULL : (1ULL << count) - 1) << first;
}

/* Whether fewer than PARTIAL_MIN bits are set. */
static bool few(uint64_t map)
{
	for (unsigned i = 1; map && i < PARTIAL_MIN; i++)
		map &= map - 1;
	return !map;
}

int swap_space_init(uint64_t limit)
{
	uint64_t words = DIV_ROUND_UP(frames_max_mfn(), 64UL);
	uint64_t summary = DIV_ROUND_UP(words, 64UL);
	uint64_t pages = DIV_ROUND_UP((words + summary) * 8, PAGE_SIZE);
	mfn_t m = frames_alloc_contig(pages);

	if (!mfn_valid_value(m))
		return -XEN_ENOMEM;
	space.partial = arch_mfn_to_virt(m);
	memset(arch_mfn_to_virt(m), 0, pages * PAGE_SIZE);
	space.summary = space.partial + words;
	space.nr_summary = summary;
	atomic_store(&space.frames, 0);
	swap_space_set_limit(limit);
	return 0;
}

void swap_space_set_limit(uint64_t frames)
{
	atomic_store_explicit(&space.limit, frames, memory_order_relaxed);
}

uint64_t swap_space_limit(void)
{
	return atomic_load_explicit(&space.limit, memory_order_relaxed);
}

uint64_t swap_space_frames(void)
{
	return atomic_load_explicit(&space.frames, memory_order_relaxed);
}

/* ---- partial --------------------------------------------------------------------------------- */

static void partial_set(uint64_t m)
{
	uint64_t w = m / 64;

	atomic_fetch_or(&space.partial[w], 1ULL << (m & 63));
	if (!(atomic_load(&space.summary[w / 64]) & 1ULL << (w & 63)))
		atomic_fetch_or(&space.summary[w / 64], 1ULL << (w & 63));
}

/* Whether the caller is now the holder. */
static bool partial_claim(uint64_t m)
{
	uint64_t bit = 1ULL << (m & 63);

	return atomic_fetch_and(&space.partial[m / 64], ~bit) & bit;
}

/* A frame of word @w, or 0 when it has none; then its bit in the summary is cleared. */
static uint64_t claim_in_word(uint64_t w)
{
	uint64_t bits;

	while ((bits = atomic_load(&space.partial[w]))) {
		uint64_t m = w * 64 + (unsigned)__builtin_ctzll(bits);

		if (partial_claim(m))
			return m;
	}
	atomic_fetch_and(&space.summary[w / 64], ~(1ULL << (w & 63)));
	/* One set before the summary's bit was cleared may have relied on it. */
	if (atomic_load(&space.partial[w]))
		atomic_fetch_or(&space.summary[w / 64], 1ULL << (w & 63));
	return 0;
}

static uint64_t claim_any(struct swap_space_pcpu *sp, uint64_t look)
{
	look = MIN(look, space.nr_summary);
	for (; look; look--) {
		uint64_t bits = atomic_load(&space.summary[sp->from]);

		for (; bits; bits &= bits - 1) {
			uint64_t m = claim_in_word(sp->from * 64 + (unsigned)__builtin_ctzll(bits));

			if (m)
				return m;
		}
		sp->from = sp->from + 1 < space.nr_summary ? sp->from + 1 : 0;
	}
	return 0;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void drop_frame(uint64_t m)
{
	atomic_fetch_sub_explicit(&space.frames, 1, memory_order_relaxed);
	page_free_rcu(MFN(m));
}

static uint64_t fresh_frame(void)
{
	mfn_t m;

	if (atomic_fetch_add_explicit(&space.frames, 1, memory_order_relaxed) >= swap_space_limit())
		goto none;
	m = page_alloc(0);
	if (!mfn_valid_value(m))
		goto none;
	atomic_store_explicit(&header_of(m.v)->map, ALL | HELD, memory_order_relaxed);
	return m.v;
none:
	atomic_fetch_sub_explicit(&space.frames, 1, memory_order_relaxed);
	return 0;
}

/* By the holder: make the frame available, or free it when it is empty. */
static void pass_on(uint64_t m)
{
	struct header *h = header_of(m);

	for (;;) {
		if (atomic_load(&h->map) == (ALL | HELD)) {
			drop_frame(m);
			return;
		}
		partial_set(m);
		/* PAIRS: swap_partial */
		if (atomic_load(&h->map) != (ALL | HELD) || !partial_claim(m))
			return;
	}
}

/* False when the run is not in use: nothing was done. */
static bool give_back(uint64_t m, unsigned first, unsigned count)
{
	struct header *h = header_of(m);
	uint64_t run = run_mask(first, count), map = atomic_load(&h->map), new;
	CAS_LOOP(loop, "swap frame, give back");

	do {
		if (map & run)
			return false;
		new = map | run;
		if (!(map & HELD) && !few(new))
			new |= HELD;
		/* Release: what was read there comes before its next use. PAIRS: swap_run */
	} while (!atomic_compare_exchange_weak(&h->map, &map, new) && retry(&loop));
	retry_done(&loop);
	if (!(map & HELD) && new &HELD)
		pass_on(m);
	/* PAIRS: swap_partial */
	else if (new == (ALL | HELD) && partial_claim(m))
		pass_on(m);
	return true;
}

/* Let go of a frame with nothing free in it; false when something has become free. */
static bool let_go(uint64_t m)
{
	struct header *h = header_of(m);
	uint64_t map = HELD;

	return atomic_compare_exchange_strong(&h->map, &map, 0);
}

/* Up to @want granules in one run from the frame this pCPU holds. */
static uint64_t take_run(struct swap_space_pcpu *sp, unsigned want)
{
	CAS_LOOP(loop, "swap frame, let go");

	for (;;) {
		uint64_t map = 0, run;
		unsigned first, count;

		if (sp->frame) {
			/* Only the holder clears bits. PAIRS: swap_run */
			map = atomic_load_explicit(&header_of(sp->frame)->map,
						   memory_order_acquire) &
			      ~HELD;
			if (!map && !let_go(sp->frame)) {
				retry(&loop);
				continue;
			}
		}
		if (!map) {
			sp->frame = claim_any(sp, LOOK);
			if (!sp->frame)
				sp->frame = fresh_frame();
			if (!sp->frame)
				sp->frame = claim_any(sp, UINT64_MAX);
			if (!sp->frame)
				return 0;
			continue;
		}
		first = (unsigned)__builtin_ctzll(map);
		run = ~(map >> first);
		count = run ? (unsigned)__builtin_ctzll(run) : 64;
		count = MIN(count, want);
		atomic_fetch_and_explicit(&header_of(sp->frame)->map, ~run_mask(first, count),
					  memory_order_acq_rel);
		return WORD(sp->frame, first, count);
	}
}

/* ---- objects --------------------------------------------------------------------------------- */

static uint8_t *at(uint64_t word)
{
	return (uint8_t *)header_of(WORD_MFN(word)) + WORD_FIRST(word) * SWAP_GRANULE;
}

static unsigned room(uint64_t word)
{
	return WORD_COUNT(word) * SWAP_GRANULE - (unsigned)sizeof(uint64_t);
}

uint64_t swap_space_put(struct swap_space_pcpu *sp, const void *data, unsigned len)
{
	uint64_t frag[SWAP_FRAGMENTS_MAX + 1];
	unsigned n = 0, left = len;

	while (left) {
		frag[n] = take_run(sp, swap_space_granules(left));
		if (!frag[n]) {
			while (n--)
				give_back(WORD_MFN(frag[n]), WORD_FIRST(frag[n]),
					  WORD_COUNT(frag[n]));
			return 0;
		}
		left -= MIN(left, room(frag[n]));
		n++;
	}
	frag[n] = 0;
	for (unsigned i = 0; i < n; i++) {
		unsigned part = MIN(len, room(frag[i]));

		memcpy(at(frag[i]), &frag[i + 1], sizeof(uint64_t));
		memcpy(at(frag[i]) + sizeof(uint64_t), data, part);
		data = (const uint8_t *)data + part;
		len -= part;
	}
	return frag[0];
}

/* Whether a word read from the store can be one. */
static bool sound(uint64_t word)
{
	return WORD_MFN(word) && WORD_MFN(word) < frames_max_mfn() && WORD_FIRST(word) &&
	       WORD_COUNT(word) && WORD_FIRST(word) + WORD_COUNT(word) <= SWAP_FRAME_GRANULES + 1;
}

const void *swap_space_get(uint64_t word, void *buf, unsigned len)
{
	uint8_t *out = buf;
	unsigned part;

	if (!sound(word))
		return NULL;
	if (room(word) >= len)
		return at(word) + sizeof(uint64_t);
	for (; len; len -= part) {
		if (!sound(word))
			return NULL;
		part = MIN(len, room(word));
		memcpy(out, at(word) + sizeof(uint64_t), part);
		memcpy(&word, at(word), sizeof(word));
		out += part;
	}
	return buf;
}

bool swap_space_free(uint64_t word, unsigned len)
{
	while (len) {
		uint64_t next;
		unsigned part;

		if (!sound(word))
			return false;
		memcpy(&next, at(word), sizeof(next));
		part = MIN(len, room(word));
		if (!give_back(WORD_MFN(word), WORD_FIRST(word), WORD_COUNT(word)))
			return false;
		word = next;
		len -= part;
	}
	return true;
}
