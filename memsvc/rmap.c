/* SPDX-License-Identifier: MIT */
/* Overflow chunks and walks; see rmap.h. */
#include "memsvc/rmap.h"

#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/pt.h"

/* Honest use needs at most 3 node pages per full hardware L1. */
static bool may_grow(struct mm *mm)
{
	return atomic_load_explicit(&mm->ovf_nr_pages, memory_order_relaxed) <
		       4 * mm_sum(mm, MMK_HWTABLE) + 16 &&
	       may_have_table(mm);
}

/* The free list goes through child[0]. */
static void free_push(struct mm *mm, struct rmap_node *first, struct rmap_node *last)
{
	struct rmap_node *head = atomic_load_explicit(&mm->ovf_free, memory_order_relaxed);
	CAS_LOOP(loop, "free nodes of the reverse map, put");

	do {
		atomic_store_explicit(&last->child[0], head, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
			 &mm->ovf_free, &head, first, memory_order_release, memory_order_relaxed) &&
		 retry(&loop));
}

/* A node popped here comes back only through RCU, so the compare has no ABA. */
static struct rmap_node *free_pop(struct mm *mm)
{
	struct rmap_node *head = atomic_load_explicit(&mm->ovf_free, memory_order_acquire);
	CAS_LOOP(loop, "free nodes of the reverse map, get");

	while (head && !atomic_compare_exchange_weak_explicit(
			       &mm->ovf_free, &head,
			       atomic_load_explicit(&head->child[0], memory_order_relaxed),
			       memory_order_acquire, memory_order_acquire))
		retry(&loop);
	return head;
}

static struct rmap_node *node_alloc(struct mm *mm)
{
	struct rmap_node *n = free_pop(mm);
	struct page_info *pi;
	uint64_t head;
	CAS_LOOP(loop, "pages of the reverse map");

	if (n)
		return n;
	if (!may_grow(mm))
		return NULL;
	n = p2m_meta_page(mm, 0);
	if (!n)
		return NULL;
	pi = page_of(arch_virt_to_mfn(n));
	head = atomic_load_explicit(&mm->ovf_pages, memory_order_relaxed);
	do {
		atomic_store_explicit(&pi->next, head, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(&mm->ovf_pages, &head, mfn_of(pi).v,
							memory_order_release,
							memory_order_relaxed) &&
		 retry(&loop));
	retry_done(&loop);
	atomic_fetch_add_explicit(&mm->ovf_nr_pages, 1, memory_order_relaxed);
	for (unsigned i = 1; i + 1 < PAGE_SIZE / sizeof(*n); i++)
		atomic_store_explicit(&n[i].child[0], &n[i + 1], memory_order_relaxed);
	free_push(mm, &n[1], &n[PAGE_SIZE / sizeof(*n) - 1]);
	return n;
}

static struct mm *node_mm(struct rmap_node *n)
{
	return meta_mm(page_of(arch_virt_to_mfn(n)));
}

static void node_freed(struct rcu_head *h)
{
	struct rmap_node *n = container_of(h, struct rmap_node, rcu);
	struct mm *mm = node_mm(n);

	free_push(mm, n, n);
	/* The last touch of the mm: its teardown waits for this. PAIRS: ovf_rcu */
	atomic_fetch_sub_explicit(&mm->ovf_rcu, 1, memory_order_release);
}

static bool slot_cas(_Atomic uint64_t *s, uint64_t from, uint64_t to)
{
	return atomic_load_explicit(s, memory_order_relaxed) == from &&
	       atomic_compare_exchange_strong(s, &from, to);
}

static struct rmap_node *node_parent(const struct rmap_node *n)
{
	return (struct rmap_node *)(n->parent & ~3ULL);
}

/* A dead node leaves its parent; the parent to be dropped then, by the one who did it. */
static struct rmap_node *node_unlink(struct gfn_rec *rec, struct rmap_node *n)
{
	struct rmap_node *p = node_parent(n), *want = n;

	if (!atomic_compare_exchange_strong(p ? &p->child[n->parent & 3] : &rec->ovf, &want, NULL))
		return NULL;
	atomic_fetch_add_explicit(&node_mm(n)->ovf_rcu, 1, memory_order_relaxed);
	call_rcu(&n->rcu, node_freed);
	return p;
}

static bool node_hold(struct rmap_node *n)
{
	uint64_t used = atomic_load(&n->used);
	CAS_LOOP(loop, "node of the reverse map, hold");

	do {
		if (used == RMAP_DEAD)
			return false;
	} while (!atomic_compare_exchange_weak(&n->used, &used, used + 1) && retry(&loop));
	return true;
}

static void node_drop(struct gfn_rec *rec, struct rmap_node *n)
{
	while (n) {
		uint64_t used = atomic_load(&n->used);
		CAS_LOOP(loop, "node of the reverse map, drop");

		while (!atomic_compare_exchange_weak(&n->used, &used,
						     used == 1 ? RMAP_DEAD : used - 1))
			retry(&loop);
		retry_done(&loop);
		if (used != 1)
			return;
		n = node_unlink(rec, n);
	}
}

/* Different locations differ in the first 64 bits of their path. */
static uint64_t path_of(uint64_t loc)
{
	return loc * 0x9e3779b97f4a7c15ULL;
}

static struct rmap_node *node_new(struct mm *mm, uint64_t parent, uint64_t loc)
{
	struct rmap_node *n = node_alloc(mm);

	if (!n)
		return NULL;
	atomic_store_explicit(&n->used, 1, memory_order_relaxed);
	n->parent = parent;
	for (unsigned i = 0; i < ARRAY_SIZE(n->child); i++)
		atomic_store_explicit(&n->child[i], NULL, memory_order_relaxed);
	for (unsigned i = 0; i < RMAP_NODE_SLOTS; i++)
		atomic_store_explicit(&n->slot[i], i ? 0 : loc, memory_order_relaxed);
	return n;
}

static bool node_full(struct rmap_node *n)
{
	for (unsigned i = 0; i < RMAP_NODE_SLOTS; i++)
		if (!atomic_load_explicit(&n->slot[i], memory_order_relaxed))
			return false;
	return true;
}

static bool node_take(struct rmap_node *n, uint64_t loc)
{
	for (unsigned i = 0; i < RMAP_NODE_SLOTS; i++)
		if (slot_cas(&n->slot[i], 0, loc))
			return true;
	return false;
}

int rmap_add_slow(struct mm *mm, struct gfn_rec *rec, uint64_t loc)
{
	_Atomic(struct rmap_node *) *link = &rec->ovf;
	struct rmap_node *n, *made, *held = NULL; /* the node that @link is in, when we hold it */
	uint64_t path = path_of(loc), parent = 0;
	CAS_LOOP(loop, "reverse map, add");

	for (;;) {
		n = atomic_load(link);
		if (!n) {
			if (parent && !held) { /* it was there a moment ago: from the root again */
				retry(&loop);
				link = &rec->ovf;
				path = path_of(loc);
				parent = 0;
				continue;
			}
			made = node_new(mm, parent, loc);
			if (!made) {
				node_drop(rec, held);
				return -XEN_ENOMEM;
			}
			if (atomic_compare_exchange_strong(link, &n, made))
				return 0; /* the place we held in the parent is its child's now */
			retry(&loop);
			/* Nobody saw it; through RCU because of free_pop(). */
			atomic_fetch_add_explicit(&mm->ovf_rcu, 1, memory_order_relaxed);
			call_rcu(&made->rcu, node_freed);
			continue;
		}
		if (!node_full(n) || !atomic_load(&n->child[path >> 62])) {
			if (!node_hold(n)) {
				retry(&loop);
				node_drop(rec, node_unlink(rec, n));
				continue;
			}
			node_drop(rec, held);
			if (node_take(n, loc))
				return 0;
			held = n;
		} else {
			node_drop(rec, held);
			held = NULL;
		}
		parent = (uint64_t)n | path >> 62;
		link = &n->child[path >> 62];
		path <<= 2;
	}
}

/*
 * Two removers of equal copies can pass each other while copies come and go, so look again; each
 * failed pass means that someone else took a copy. A copy always exists: bounded only to turn a
 * broken invariant into a message instead of a hang.
 */
void rmap_del_slow(struct gfn_rec *rec, uint64_t loc)
{
	CAS_LOOP(loop, "reverse map, delete");

	for (unsigned pass = 0; pass < 100000; pass++, retry(&loop)) {
		struct rmap_node *n = atomic_load(&rec->ovf);

		for (uint64_t path = path_of(loc); n; path <<= 2) {
			for (unsigned i = 0; i < RMAP_NODE_SLOTS; i++)
				if (slot_cas(&n->slot[i], loc, 0)) {
					node_drop(rec, n);
					return;
				}
			n = atomic_load(&n->child[path >> 62]);
		}
		for (unsigned i = 0; i < RMAP_INLINE; i++)
			if (slot_cas(&rec->slot[i], loc, 0))
				return;
	}
	panic("rmap: location %lx of name %lx is not recorded", (unsigned long)loc,
	      (unsigned long)p2m_rec_gfn(rec));
}

static _Atomic uint32_t *name_word(uint64_t loc)
{
	uint32_t page =
		atomic_load_explicit(&page_of(MFN(loc >> 9))->hw.names, memory_order_acquire);

	return page ? (_Atomic uint32_t *)arch_mfn_to_virt(MFN(page)) + (loc & 511) : NULL;
}

static bool name_page_make(struct mm *mm, struct page_info *pi)
{
	void *page = p2m_meta_page(mm, 0);
	uint32_t none = 0;

	if (!page)
		return false;
	if (atomic_compare_exchange_strong(&pi->hw.names, &none,
					   (uint32_t)arch_virt_to_mfn(page).v))
		return true;
	page_free(arch_virt_to_mfn(page));
	mm_count(mm, MMK_META, -1);
	return true;
}

int rmap_claim(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, uint64_t loc)
{
	_Atomic uint32_t *w = name_word(loc);
	uint32_t none = 0;

	if (unlikely(!w)) {
		if (!name_page_make(mm, page_of(MFN(loc >> 9))))
			return -XEN_ENOMEM;
		w = name_word(loc);
	}
	if (!atomic_compare_exchange_strong(w, &none, (uint32_t)gfn + 1))
		return 0;
	if (likely(!rmap_add(mm, rec, loc)))
		return 1;
	atomic_store(w, 0);
	return -XEN_ENOMEM;
}

static inline struct gfn_rec *claimed_in(_Atomic uint32_t *w, uint64_t loc)
{
	uint32_t name = w ? atomic_load(w) : 0;

	return name ? p2m_rec(table_mm(page_of(MFN(loc >> 9))), name - 1) : NULL;
}

struct gfn_rec *rmap_claimed(uint64_t loc)
{
	return claimed_in(name_word(loc), loc);
}

void rmap_release(uint64_t loc)
{
	_Atomic uint32_t *w = name_word(loc);

	rmap_del(claimed_in(w, loc), loc);
	/* The next mapper's claim comes after the copy is out. */
	atomic_store(w, 0);
}

static _Atomic uint64_t *entry_at(uint64_t loc)
{
	return (_Atomic uint64_t *)arch_mfn_to_virt(MFN(loc >> 9)) + (loc & 511);
}

static bool maps(uint64_t e, mfn_t m)
{
	return e & (PTE_P | HW_PENDING) && (pte_frame(e) == m.v || !mfn_valid_value(m));
}

static void clear_entry(uint64_t loc, mfn_t m)
{
	_Atomic uint64_t *e = entry_at(loc);
	uint64_t old = atomic_load(e);
	CAS_LOOP(loop, "hardware leaf entry, clear");

	for (; maps(old, m); retry(&loop))
		if (atomic_compare_exchange_weak(e, &old, 0)) {
			rmap_retract(old, loc);
			return;
		}
}

typedef bool (*visit_fn)(uint64_t loc, mfn_t m);

static bool visit_clear(uint64_t loc, mfn_t m)
{
	clear_entry(loc, m);
	return false;
}

static bool visit_protect(uint64_t loc, mfn_t m)
{
	_Atomic uint64_t *e = entry_at(loc);
	uint64_t old = atomic_load(e);
	CAS_LOOP(loop, "hardware leaf entry, protect");

	for (; maps(old, m) && old & PTE_RW; retry(&loop))
		if (atomic_compare_exchange_weak(e, &old, old & ~(PTE_RW | PTE_D)))
			break;
	return false;
}

static bool visit_writable(uint64_t loc, mfn_t m)
{
	uint64_t e = atomic_load(entry_at(loc));

	/* A detached table that waits for its sweep counts no more. */
	return maps(e, m) && e & PTE_RW && pt_live(page_of(MFN(loc >> 9)));
}

/* Call @fn for every location in the tree under @n, until it returns true. The depth is that of
 * the paths, 32 and a node for every 8 pCPUs that enter the same location at once. */
static __attribute__((noinline)) bool walk_tree(struct rmap_node *n, mfn_t m, visit_fn fn)
{
	for (unsigned i = 0; i < RMAP_NODE_SLOTS; i++) {
		uint64_t loc = atomic_load(&n->slot[i]);

		if (loc && fn(loc, m))
			return true;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(n->child); i++) {
		struct rmap_node *child = atomic_load(&n->child[i]);

		if (child && walk_tree(child, m, fn))
			return true;
	}
	return false;
}

/* Inline: most names have a place or two. */
static inline __attribute__((always_inline)) bool walk(struct mm *mm, struct gfn_rec *rec,
						       uint64_t gfn, mfn_t m, visit_fn fn)
{
	_Atomic uint64_t *lin = p2m_linear(mm, gfn);
	uint64_t hw = lin ? atomic_load(lin) : 0;
	struct rmap_node *n;

	if (hw) {
		uint64_t loc = rmap_loc(MFN(hw), gfn & (BLOCK_NAMES - 1));

		/* One with a slot is of another name, or is found by its slot. */
		if (!(atomic_load(entry_at(loc)) & HW_SLOT) && fn(loc, m))
			return true;
	}
	for (unsigned i = 0; i < RMAP_INLINE; i++) {
		uint64_t loc = atomic_load(&rec->slot[i]);

		if (loc && fn(loc, m))
			return true;
	}
	n = atomic_load(&rec->ovf);
	return unlikely(n) && walk_tree(n, m, fn);
}

/* Nodes under @n, as far as @max. */
static unsigned count_nodes(struct rmap_node *n, unsigned max)
{
	unsigned sum = n != NULL;

	for (unsigned i = 0; n && i < ARRAY_SIZE(n->child) && sum < max; i++)
		sum += count_nodes(atomic_load(&n->child[i]), max - sum);
	return sum;
}

bool rmap_too_many_nodes(struct rmap_node *n)
{
	const unsigned max = RMAP_WALK_MAX / RMAP_NODE_SLOTS;

	return count_nodes(n, max) >= max;
}

void rmap_clear_all(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m)
{
	walk(mm, rec, gfn, m, visit_clear);
}

void rmap_protect_all(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m)
{
	walk(mm, rec, gfn, m, visit_protect);
}

bool rmap_any_writable(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m)
{
	return rmap_too_many(rec) || walk(mm, rec, gfn, m, visit_writable);
}
