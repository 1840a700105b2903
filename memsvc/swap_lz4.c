/* SPDX-License-Identifier: MIT */
/* Compressed pages in memory; see swap_lz4.h. */
#include "memsvc/swap_lz4.h"

#include <arch/fpu.h>
#include <lz4.h>

#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/swap_slot.h"
#include "memsvc/swap_space.h"
#include "percpu/pcpu.h"

#define XXH_INLINE_ALL
#define XXH_NO_LONG_LONG
/* Freestanding, memcpy() is a call even for a word. */
#define XXH_FORCE_MEMORY_ACCESS 1
#include <xxhash.h>

/* Greater is faster and packs less; at 1 a page still takes few microseconds. */
#define ACCELERATION 1
/* Word of a packed slot: length above what swap_space_put() returns. */
#define PACKED(word, len) ((uint64_t)(len) << 48 | (word))
#define PACKED_LEN(val) ((unsigned)((val) >> 48))
#define PACKED_WORD(val) ((val) & ((1ULL << 48) - 1))

enum {
	N_SLOTS,
	N_SAME,
	N_BYTES,
	N_WAITING,
	N_STORES,
	N_LOADS,
	N_REFUSED,
	N_NO_ROOM,
	N_DAMAGED,
	N_MAX
};

/* Private to its pCPU; others only read n. */
struct swap_pcpu {
	struct swap_slots_pcpu slots;
	struct swap_space_pcpu space;
	_Atomic uint64_t n[N_MAX]; /* a pCPU's part of a sum may be below zero */
	uint8_t packed[SWAP_OBJECT_MAX] CACHE_ALIGNED;
	uint64_t page[PAGE_SIZE / 8];
	LZ4_stream_t lz4;
};

static struct swap_pcpu *scratch[MAX_PCPUS];

static struct swap_pcpu *mine(void)
{
	return scratch[this_pcpu()->id];
}

static void count(struct swap_pcpu *sp, unsigned what, uint64_t by)
{
	atomic_store_explicit(&sp->n[what],
			      atomic_load_explicit(&sp->n[what], memory_order_relaxed) + by,
			      memory_order_relaxed);
}

static uint32_t check_of(const void *data, size_t len, uint32_t slot)
{
	BUG_ON(!data); /* XXH32() would allow it */
	return XXH32(data, len, slot);
}

/* Copy a page that may be written meanwhile; whether the copy is full of one word. */
static bool snapshot(uint64_t *to, const _Atomic uint64_t *from)
{
	uint64_t differ = 0;

	to[0] = atomic_load_explicit(&from[0], memory_order_relaxed);
	for (unsigned i = 1; i < PAGE_SIZE / 8; i++) {
		to[i] = atomic_load_explicit(&from[i], memory_order_relaxed);
		differ |= to[i] ^ to[0];
	}
	return !differ;
}

static void fill(uint64_t *page, uint64_t word)
{
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		page[i] = word;
}

/* ---- liblz4 ---------------------------------------------------------------------------------- */

/* Length in sp->packed, or 0 when it does not fit. */
static unsigned pack(struct swap_pcpu *sp)
{
	struct fpu_loan loan;
	int len;

	fpu_borrow(&loan);
	len = LZ4_compress_fast_extState(&sp->lz4, (const char *)sp->page, (char *)sp->packed,
					 PAGE_SIZE, sizeof(sp->packed), ACCELERATION);
	fpu_return(&loan);
	return len > 0 ? (unsigned)len : 0;
}

static bool unpack(const void *packed, unsigned len, void *page)
{
	struct fpu_loan loan;
	int n;

	fpu_borrow(&loan);
	n = LZ4_decompress_safe(packed, page, (int)len, PAGE_SIZE);
	fpu_return(&loan);
	return n == PAGE_SIZE;
}

/* ---- the device ------------------------------------------------------------------------------ */

static int lz4_store(struct swap_device *dev, const void *page, uint32_t *slot)
{
	struct swap_pcpu *sp = mine();
	struct swap_slot *s;
	unsigned len = 0;
	uint64_t word;
	bool same;

	(void)dev;
	same = snapshot(sp->page, page);
	if (!same) {
		len = pack(sp);
		if (!len) {
			count(sp, N_REFUSED, 1);
			return -XEN_E2BIG;
		}
	}
	*slot = swap_slot_get(&sp->slots, &s);
	if (!*slot)
		goto no_room;
	if (same) {
		word = sp->page[0];
		swap_slot_set(s, SWAP_SLOT_SAME, word, check_of(&word, sizeof(word), *slot));
		count(sp, N_SAME, 1);
	} else {
		word = swap_space_put(&sp->space, sp->packed, len);
		if (!word) {
			swap_slot_put(&sp->slots, *slot);
			goto no_room;
		}
		swap_slot_set(s, SWAP_SLOT_PACKED, PACKED(word, len),
			      check_of(sp->page, PAGE_SIZE, *slot));
		count(sp, N_BYTES, len);
	}
	count(sp, N_SLOTS, 1);
	count(sp, N_STORES, 1);
	return 0;
no_room:
	count(sp, N_NO_ROOM, 1);
	return -XEN_ENOMEM;
}

static bool load_packed(struct swap_pcpu *sp, uint64_t val, void *page)
{
	unsigned len = PACKED_LEN(val);
	const void *packed;

	if (!len || len > SWAP_OBJECT_MAX)
		return false;
	packed = swap_space_get(PACKED_WORD(val), sp->packed, len);
	return packed && unpack(packed, len, page);
}

static int lz4_load(struct swap_device *dev, uint32_t slot, void *page)
{
	struct swap_slot *s = swap_slot_rec(slot);
	struct swap_pcpu *sp = mine();
	uint64_t val;
	uint32_t check = 0, want;
	bool ok = false;

	(void)dev;
	if (!s)
		goto damaged;
	val = atomic_load_explicit(&s->val, memory_order_relaxed);
	want = atomic_load_explicit(&s->check, memory_order_relaxed);
	switch (swap_slot_kind(s)) {
	case SWAP_SLOT_SAME:
		ok = true;
		fill(page, val);
		check = check_of(&val, sizeof(val), slot);
		break;
	case SWAP_SLOT_PACKED:
		ok = load_packed(sp, val, page);
		check = ok ? check_of(page, PAGE_SIZE, slot) : 0;
		break;
	case SWAP_SLOT_FREE:
		break;
	}
	if (ok && check == want) {
		count(sp, N_LOADS, 1);
		return 0;
	}
damaged:
	count(sp, N_DAMAGED, 1);
	return -XEN_EIO;
}

static bool lz4_free(struct swap_device *dev, uint32_t slot)
{
	struct swap_pcpu *sp = mine();

	(void)dev;
	if (!swap_slot_retire(&sp->slots, slot)) {
		count(sp, N_DAMAGED, 1);
		return false;
	}
	if (swap_slot_kind(swap_slot_rec(slot)) == SWAP_SLOT_SAME)
		count(sp, N_SAME, -1ULL);
	count(sp, N_SLOTS, -1ULL);
	count(sp, N_WAITING, 1);
	return true;
}

void swap_slot_release(struct swap_slots_pcpu *slots, struct swap_slot *s)
{
	struct swap_pcpu *sp = container_of(slots, struct swap_pcpu, slots);
	uint64_t val = atomic_load_explicit(&s->val, memory_order_relaxed);

	count(sp, N_WAITING, -1ULL);
	if (swap_slot_kind(s) == SWAP_SLOT_SAME)
		return;
	count(sp, N_BYTES, -(uint64_t)PACKED_LEN(val));
	if (!swap_space_free(PACKED_WORD(val), PACKED_LEN(val)))
		count(sp, N_DAMAGED, 1);
}

static uint64_t sum(unsigned what)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MAX_PCPUS; i++)
		if (scratch[i])
			n += atomic_load_explicit(&scratch[i]->n[what], memory_order_relaxed);
	return n;
}

static void lz4_stats(struct swap_device *dev, struct swap_stats *out)
{
	(void)dev;
	*out = (struct swap_stats){
		.slots = sum(N_SLOTS),
		.slots_same = sum(N_SAME),
		.bytes = sum(N_BYTES),
		.frames = swap_space_frames(),
		.table_frames = swap_slots_frames(),
		.limit_frames = swap_space_limit(),
		.waiting = sum(N_WAITING),
		.stores = sum(N_STORES),
		.loads = sum(N_LOADS),
		.refused = sum(N_REFUSED),
		.no_room = sum(N_NO_ROOM),
		.damaged = sum(N_DAMAGED),
	};
}

static void lz4_set_limit(struct swap_device *dev, uint64_t frames)
{
	(void)dev;
	swap_space_set_limit(frames);
}

static struct swap_device lz4_device = {
	.name = "lz4",
	.store = lz4_store,
	.load = lz4_load,
	.free = lz4_free,
	.stats = lz4_stats,
	.set_limit = lz4_set_limit,
};

struct swap_device *swap_lz4_init(unsigned pcpus, uint64_t limit)
{
	uint64_t pages = DIV_ROUND_UP(sizeof(struct swap_pcpu), PAGE_SIZE);

	swap_slots_init();
	if (swap_space_init(limit))
		return NULL;
	for (unsigned i = 0; i < MAX_PCPUS; i++)
		scratch[i] = NULL;
	for (unsigned i = 0; i < pcpus; i++) {
		mfn_t m = frames_alloc_contig(pages);

		if (!mfn_valid_value(m))
			return NULL;
		scratch[i] = arch_mfn_to_virt(m);
		memset(scratch[i], 0, pages * PAGE_SIZE);
	}
	return &lz4_device;
}
