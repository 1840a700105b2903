/* SPDX-License-Identifier: MIT */
/* memsvc/frame.h: magazines pass through the depot. */
#include "memsvc/frame.h"

#include "core/arch.h"
#include "core/host/host.h"
#include "stress/litmus/litmus.h"

#define FRAMES 256

static mfn_t first[3];
static struct magazine got[3][2];

/* A magazine of one frame whose content tells it. */
static struct magazine single(unsigned i)
{
	*(uint64_t *)arch_mfn_to_virt(first[i]) = first[i].v;
	return (struct magazine){first[i].v, 1};
}

static void setup(void)
{
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, FRAMES << PAGE_SHIFT};
	struct magazine m;

	host_arena_init(FRAMES);
	host_sim_init(3);
	if (frames_init(&r, 1))
		litmus_fail("no frames");
	for (unsigned i = 0; i < 3; i++)
		first[i] = page_alloc(0);
	while (depot_pop(&m))
		;
	m = single(0);
	depot_push(&m);
	m = single(1);
	depot_push(&m);
}

static bool pop(unsigned me, unsigned i)
{
	struct magazine *m = &got[me][i];

	if (!depot_pop(m))
		return false;
	LITMUS_ASSERT(m->n == 1);
	LITMUS_ASSERT(*(uint64_t *)arch_mfn_to_virt(MFN(m->head)) == m->head);
	return true;
}

static void thread(unsigned me)
{
	struct magazine m;

	if (me == 0) {
		m = single(2);
		depot_push(&m);
		pop(me, 0);
	} else if (me == 1) {
		/* Takes two and puts the first one back: the head is the same frame again. */
		pop(me, 0);
		pop(me, 1);
		m = got[me][0];
		got[me][0].n = 0;
		if (m.n)
			depot_push(&m);
	} else {
		pop(me, 0);
	}
}

static void check(void)
{
	unsigned seen[3] = {0};
	struct magazine m;

	for (unsigned t = 0; t < 3; t++)
		for (unsigned i = 0; i < 2; i++)
			for (unsigned f = 0; f < 3; f++)
				seen[f] += got[t][i].n && got[t][i].head == first[f].v;
	for (unsigned n = 0; n < 4 && depot_pop(&m); n++)
		for (unsigned f = 0; f < 3; f++)
			seen[f] += m.head == first[f].v;
	for (unsigned f = 0; f < 3; f++)
		LITMUS_ASSERT(seen[f] == 1);
}

LITMUS(depot, "depot", "each magazine is in one place, with what its frames hold", 3, 0, setup,
       thread, check);
