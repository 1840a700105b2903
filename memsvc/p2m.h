/* SPDX-License-Identifier: MIT */
/*
 * P2M: what is behind each name. One cache line per name holds all that mapping it touches, so
 * operations on different names write different lines.
 *
 * Records are found through a 3-level radix (9 + 9 bits, then 64 records per frame), built at first
 * need (install by CAS, release; lookups acquire: PAIRS: p2m_node) and freed only by the mm's
 * teardown. Root and middle nodes have no more entries than the mm has names for; those of a small
 * domain are no frames of their own but lie beside its struct mm.
 *
 * word: the frame behind the name. Linearization of every change: its CAS. The generation makes
 * each value unique for the time an operation can be under way.
 * pt: 0, or the live hardware table of the guest table that this name is. Linearization of
 * promote, detach, get and put: the CAS of this word. A hardware table is detached for good when
 * refs reaches 0; a new one gets another frame.
 *
 * Mapping a name against changing its word or pt (convergence, used all over memsvc/pt.c):
 *   mapper:  publish the rmap slot; read word, pt; xchg the leaf (full fence); read them again
 *   changer: CAS word or pt (full fence); walk the rmap, rewrite the leaves
 * If the mapper's second read misses the change, its slot and leaf precede the change and the
 * changer's walk sees them; else the mapper retries. PAIRS: p2m_change
 *
 * PT_RW: a writable translation of the name may be in some TLB. From the end of the operation that
 * makes a hardware table on every store to the guest's table traps, so its maker flushes; but not
 * when there can be nothing to flush.
 *   mapper: set PT_RW, unless it is set; enter the writable leaf; read pt again   (PAIRS: pt_rw)
 *   maker:  CAS pt to the table, PT_RW kept; find no writable leaf; if PT_RW was set: flush the mm,
 *           then take PT_RW out, if pt still is this table's                      (PAIRS: pt_rw)
 * Invariant: without PT_RW no TLB has a writable translation, other than of leaves that operations
 * under way flush themselves. The bit is set before the first such leaf is there. While pt is a
 * table's there is no writable leaf, except one that a mapper which began before enters for a
 * moment: it finds pt changed, and flushes. So what is cached is from before the maker's walk, and
 * gone after its flush. A table detached meanwhile leaves the bit. A mapper that found the bit set
 * and enters its leaf after the maker's flush has kept this flush waiting: it is under way on a pCPU
 * that has the mm loaded. Leaves in a detached table are no leaves to the walk; after the flush no
 * pCPU reaches them.
 * Who takes a writable leaf out has nothing to do with all this.
 */
#ifndef MEMSVC_P2M_H
#define MEMSVC_P2M_H

#include "memsvc/mm.h"
#include "memsvc/pte.h"

#define RMAP_INLINE 5

struct gfn_rec {
	_Atomic uint64_t word; /* flags 0-11, mfn or swap slot 12-43, generation 44-63 */
	_Atomic uint64_t pt; /* level 0-2, pinned 3, RW 4, refs 8-27, hardware table's mfn 28-63 */
	_Atomic uint64_t slot[RMAP_INLINE];
	_Atomic(struct rmap_node *) ovf;
} CACHE_ALIGNED;
_Static_assert(sizeof(struct gfn_rec) == CACHE_LINE, "one line per name");

/* What is behind a name, and the moves between these states: memsvc/name.h. */
#define P2M_VALID 0x1u	   /* a frame */
#define P2M_RO 0x2u	   /* no writable mapping */
#define P2M_PINNED 0x4u	   /* keeps its frame until teardown */
#define P2M_SPECIAL 0x8u   /* a special name: not the guest's to give up or to use as a table */
#define P2M_SHARED 0x10u   /* VALID, RO: the frame has other names too, or is the zero frame */
#define P2M_GUARD 0x20u	   /* VALID, RO: private, kept as it is; with SHARED: p2m_merged() */
#define P2M_BREAK 0x40u	   /* VALID, RO: private again, old entries may still be about */
#define P2M_SWAPPED 0x80u  /* in the swap device, at the slot in the mfn's place */
#define P2M_GONE 0x100u	   /* given up by the guest */
#define P2M_TOUCHED 0x200u /* has had a frame of its own */
#define P2M_SAMPLED 0x400u /* no mapping until the guest's next access, which clears this */
#define P2M_STALE 0x800u   /* SWAPPED, or SHARED and GUARD: those of the old frame may be cached */
#define P2M_FLAGS 0xfffu
#define P2M_GEN_SHIFT 44

static inline mfn_t p2m_mfn(uint64_t word)
{
	return MFN(word >> 12 & UINT32_MAX);
}

static inline uint64_t p2m_word(uint64_t old, mfn_t m, unsigned flags)
{
	return ((old >> P2M_GEN_SHIFT) + 1) << P2M_GEN_SHIFT | m.v << 12 | flags;
}

/* p2m_reflag() - the word after @old with other flags and the same frame or slot. */
static inline uint64_t p2m_reflag(uint64_t old, unsigned set, unsigned clear)
{
	return p2m_word(old, p2m_mfn(old), ((unsigned)(old & P2M_FLAGS) | set) & ~clear);
}

/* p2m_merged() - whether a name with @word shares a frame, and no leaf was entered since that began:
 * none is before the guest's next access, which takes GUARD off. See memsvc/name.h. */
static inline bool p2m_merged(uint64_t word)
{
	return (word & (P2M_SHARED | P2M_GUARD)) == (P2M_SHARED | P2M_GUARD);
}

/* p2m_promised() - whether a name that has @word, but no frame, gets one when touched. */
static inline bool p2m_promised(const struct mm *mm, uint64_t gfn, uint64_t word)
{
	if (word & (P2M_VALID | P2M_SWAPPED))
		return true;
	return gfn < mm->promised && !(word & P2M_GONE);
}

#define PT_LEVEL(pt) ((unsigned)((pt)&7))
#define PT_PINNED 0x8ULL
#define PT_RW 0x10ULL /* the only bit that may be set without a table */
#define PT_REF 0x100ULL
#define PT_REFS(pt) ((pt) >> 8 & 0xfffff)
#define PT_REFS_MAX 0xfffffULL
#define PT_HW(pt) MFN((pt) >> 28)

#define RECS_PER_LEAF 64
#define BLOCK_NAMES 512 /* names one hardware L1 can map linearly */

/** p2m_rec() - the record of a name; NULL when it never had a frame. */
static inline struct gfn_rec *p2m_rec(struct mm *mm, uint64_t gfn)
{
	_Atomic uint64_t *mid;
	struct gfn_rec *leaf;

	if (unlikely(gfn >= mm->names))
		return NULL;
	mid = (_Atomic uint64_t *)atomic_load_explicit(&mm->p2m_root[gfn >> 15],
						       memory_order_acquire);
	if (unlikely(!mid))
		return NULL;
	leaf = (struct gfn_rec *)atomic_load_explicit(&mid[gfn >> 6 & 511], memory_order_acquire);
	return likely(leaf) ? &leaf[gfn & (RECS_PER_LEAF - 1)] : NULL;
}

/** p2m_root_len() - entries of the root. */
static inline uint64_t p2m_root_len(const struct mm *mm)
{
	return (mm->names + (512 * RECS_PER_LEAF - 1)) / (512 * RECS_PER_LEAF);
}

/** p2m_mid_len() - entries of the middle node below entry @i of the root. */
static inline uint64_t p2m_mid_len(const struct mm *mm, uint64_t i)
{
	return MIN(DIV_ROUND_UP(mm->names, RECS_PER_LEAF) - i * 512, 512);
}

/** p2m_init() - the root, in @len bytes at @room when it fits there. False: no memory. */
bool p2m_init(struct mm *mm, void *room, size_t len);

/** pt_is_table() - whether this is the pt word of a page table. */
static inline bool pt_is_table(uint64_t pt)
{
	return pt > PT_RW;
}

/** rec_is_table() - whether a name is a page table now. Sequentially consistent. */
static inline bool rec_is_table(const struct gfn_rec *rec)
{
	return pt_is_table(atomic_load(&rec->pt));
}

/** p2m_linear() - the word that holds the linear hardware L1 (its mfn) of @gfn's block, or NULL. */
static inline _Atomic uint64_t *p2m_linear(struct mm *mm, uint64_t gfn)
{
	_Atomic uint64_t *page;

	if (likely(gfn >> 9 < MM_LINEAR_FIRST))
		return &mm->linear_first[gfn >> 9];
	page = (_Atomic uint64_t *)atomic_load_explicit(&mm->linear_root[gfn >> 18],
							memory_order_acquire);
	return likely(page) ? &page[gfn >> 9 & 511] : NULL;
}

/** p2m_rec_gfn() - the name a record belongs to. */
static inline uint64_t p2m_rec_gfn(const struct gfn_rec *rec)
{
	const struct page_info *leaf = page_of(arch_virt_to_mfn(rec));

	return leaf->meta.base + ((uint64_t)rec >> 6 & (RECS_PER_LEAF - 1));
}

/** p2m_rec_make() - p2m_rec(), building what is missing. NULL: no memory or no such name. */
struct gfn_rec *p2m_rec_make(struct mm *mm, uint64_t gfn);

/** p2m_meta_page() - a zeroed PG_META frame charged to @mm; NULL when out of memory. */
void *p2m_meta_page(struct mm *mm, uint64_t base);

/** mm_count() - change a frame counter of the mm. */
void mm_count(struct mm *mm, enum mm_kind kind, int64_t n);

/** mm_shards() - how many shards of counters an mm has: one per pCPU, up to MM_SHARDS. */
unsigned mm_shards(void);

/** mm_own_shard() - the shard that this pCPU counts in. */
struct mm_shard *mm_own_shard(struct mm *mm);

/** mm_sum() - a frame counter's value. */
int64_t mm_sum(const struct mm *mm, enum mm_kind kind);

#endif
