/* SPDX-License-Identifier: MIT */
/* What every name must contain; see torture.h. */
#include "torture.h"

struct odom odoms[T_ALL_DOMS];

/* Nobody waits here: who cannot have a name does something else. */
bool name_use(struct oname *n)
{
	int32_t u = atomic_load(&n->users);

	do {
		if (u < 0)
			return false;
	} while (!atomic_compare_exchange_weak(&n->users, &u, u + 1));
	return true;
}

void name_unuse(struct oname *n)
{
	atomic_fetch_sub(&n->users, 1);
}

bool name_take(struct oname *n)
{
	int32_t none = 0;

	if (!atomic_compare_exchange_strong(&n->users, &none, -1))
		return false;
	atomic_fetch_add(&n->epoch, 1);
	return true;
}

void name_give(struct oname *n, enum name_kind kind)
{
	atomic_store(&n->kind, kind);
	atomic_fetch_add(&n->epoch, 1);
	atomic_store(&n->users, 0);
}

void oracle_fill(struct oname *n, uint32_t k)
{
	atomic_store(&n->tmpl, k);
	for (unsigned i = 0; i < T_WORDS; i++)
		atomic_store(&n->w[i].val, tmpl_word(k, word_at(i)));
}

void oracle_copy(struct oname *to, const struct oname *from)
{
	atomic_store(&to->tmpl, atomic_load(&from->tmpl));
	for (unsigned i = 0; i < T_WORDS; i++)
		atomic_store(&to->w[i].val, atomic_load(&from->w[i].val));
}

/* Half of all goes to a few names, and mostly to one domain, so that threads meet: which ones changes
 * as they go on. */
#define HOT_NAMES 4

uint64_t pick_at(uint64_t op, struct rnd *r)
{
	uint64_t hot = mix(tc.seed ^ op >> 10) % (N_DATA - HOT_NAMES);

	return N_FIRST_DATA + (rnd_to(r, 2) ? hot + rnd_to(r, HOT_NAMES) : rnd_to(r, N_DATA));
}

unsigned hot_domain(uint64_t op)
{
	return (unsigned)(mix(tc.seed ^ op >> 10 ^ 77) % tc.domains);
}

uint64_t pick_name(struct tcpu *t)
{
	return pick_at(atomic_load_explicit(&t->op, memory_order_relaxed), &t->r);
}
