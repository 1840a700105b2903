/* SPDX-License-Identifier: MIT */
/*
 * What the scanner costs a guest's mmu_update, in instructions and in cache lines. The hypercall is
 * single-stepped, and while it runs the scanner works on other pages of the same domain: it goes on
 * by one page after every few instructions of the hypercall. Each instruction of both is decoded for
 * the memory it reads and writes.
 *
 * Not counted: the stack (one thread plays both pCPUs) and thread-local variables.
 */
#include "mm_test.h"

#include <Zydis/Zydis.h>
#include <signal.h>
#include <ucontext.h>

#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"

#define TRAP_FLAG 0x100
#define SET_SIZE (1u << 16)
#define STACK_NEAR (1UL << 20)
#define FIRST_SCANNED 100 /* names; the hypercall's are below */
#define SCANNED 192
#define FIRST_MAPPED 30
#define MAPPED 32
#define PACE 8 /* instructions of the hypercall between two pages scanned */

/* ---- what is read and written ---- */

struct line_set {
	uint64_t line[SET_SIZE];
	unsigned n;
};

static struct line_set op_writes, op_reads, scan_writes, scan_reads;
static struct line_set *writes, *reads; /* of the side that is stepped; NULL: only count */
static unsigned steps;
static void (*intruder)(void);
static ZydisDecoder decoder;

static bool in_set(struct line_set *s, uint64_t line, bool add)
{
	uint64_t at = line * 0x9e3779b97f4a7c15ULL >> 48;

	while (s->line[at] && s->line[at] != line)
		at = (at + 1) % SET_SIZE;
	if (s->line[at])
		return true;
	if (add) {
		cr_assert_lt(++s->n, SET_SIZE / 2);
		s->line[at] = line;
	}
	return false;
}

static void registers(ZydisRegisterContext *c, const greg_t *g)
{
	static const struct {
		ZydisRegister z;
		int g;
	} map[] = {
		{ZYDIS_REGISTER_RAX, REG_RAX}, {ZYDIS_REGISTER_RBX, REG_RBX},
		{ZYDIS_REGISTER_RCX, REG_RCX}, {ZYDIS_REGISTER_RDX, REG_RDX},
		{ZYDIS_REGISTER_RSI, REG_RSI}, {ZYDIS_REGISTER_RDI, REG_RDI},
		{ZYDIS_REGISTER_RBP, REG_RBP}, {ZYDIS_REGISTER_RSP, REG_RSP},
		{ZYDIS_REGISTER_R8, REG_R8},   {ZYDIS_REGISTER_R9, REG_R9},
		{ZYDIS_REGISTER_R10, REG_R10}, {ZYDIS_REGISTER_R11, REG_R11},
		{ZYDIS_REGISTER_R12, REG_R12}, {ZYDIS_REGISTER_R13, REG_R13},
		{ZYDIS_REGISTER_R14, REG_R14}, {ZYDIS_REGISTER_R15, REG_R15},
	};

	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < ARRAY_SIZE(map); i++)
		c->values[map[i].z] = (uint64_t)g[map[i].g];
}

/* The memory that the instruction about to run will touch. */
static void record(const greg_t *g)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	ZydisRegisterContext regs;
	uint64_t rip = (uint64_t)g[REG_RIP], rsp = (uint64_t)g[REG_RSP];

	cr_assert(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, (const void *)rip, 15, &in, op)));
	if (in.meta.category == ZYDIS_CATEGORY_PREFETCH || in.meta.category == ZYDIS_CATEGORY_NOP ||
	    in.meta.category == ZYDIS_CATEGORY_WIDENOP)
		return;
	registers(&regs, g);
	for (unsigned i = 0; i < in.operand_count; i++) {
		uint64_t addr;

		if (op[i].type != ZYDIS_OPERAND_TYPE_MEMORY ||
		    op[i].mem.type != ZYDIS_MEMOP_TYPE_MEM ||
		    op[i].mem.segment == ZYDIS_REGISTER_FS)
			continue;
		cr_assert(ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&in, &op[i], rip, &regs, &addr)));
		if (addr - (rsp - STACK_NEAR) < 2 * STACK_NEAR)
			continue;
		for (uint64_t l = addr / CACHE_LINE; l <= (addr + op[i].size / 8 - 1) / CACHE_LINE;
		     l++) {
			if (op[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
				in_set(writes, l, true);
			if (op[i].actions & ZYDIS_OPERAND_ACTION_MASK_READ)
				in_set(reads, l, true);
		}
	}
}

static void on_step(int sig, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;

	(void)sig;
	(void)info;
	steps++;
	if (writes)
		record(uc->uc_mcontext.gregs);
	if (intruder && steps % PACE == 0) {
		host_become(1);
		intruder();
		host_become(0);
	}
}

/* Run @fn, stepped; returns its instructions. */
static unsigned stepped(void (*fn)(void), struct line_set *w, struct line_set *r,
			void (*other)(void))
{
	struct sigaction sa = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGTRAP, &sa, NULL);
	writes = w;
	reads = r;
	intruder = other;
	steps = 0;
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
			"i"(TRAP_FLAG)
		: "memory", "cc");
	fn();
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
			"i"(~TRAP_FLAG)
		: "memory", "cc");
	return steps;
}

/* ---- the two sides ---- */

static struct mmu_update reqs[MAPPED * 2] CACHE_ALIGNED;
static long op_rc CACHE_ALIGNED;

/* Entries of the L1 are made read-only, cleared, or pointed to another page; then back again. */
static void op(void)
{
	op_rc = do_mmu_update((uint64_t)reqs, MAPPED * 2, 0, DOMID_SELF);
}

static void op_prepare(unsigned first)
{
	for (unsigned i = 0; i < MAPPED; i++) {
		uint64_t at = 7ULL << PAGE_SHIFT | (first + i) << 3;
		uint64_t to = first + (i + 1) % MAPPED;

		reqs[i].ptr = reqs[MAPPED + i].ptr = at;
		reqs[i].val = i % 3 == 0   ? entry(first + i, P_RO_A)
			      : i % 3 == 1 ? 0
					   : entry(to, P_RW_AD);
		reqs[MAPPED + i].val = entry(first + i, P_RW_AD);
	}
}

/* The scanner's batch, page by page; the flush and the grace period come in between. */
static struct {
	struct scan_page page[SCANNED];
	unsigned names, visited, n, hashed;
} batch CACHE_ALIGNED;

static void scan_visits(void)
{
	while (batch.visited < batch.names) {
		uint64_t gfn = FIRST_SCANNED + batch.visited++;

		batch.n += scan_visit(mm, GFN(gfn), &batch.page[batch.n]) == SCAN_TAKE;
	}
}

static void scan_grace(void)
{
	tlb_shootdown_mm(mm);
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		unsigned was = host_become(i);

		rcu_quiescent_state();
		host_become(was);
	}
}

static void scan_hashes(void)
{
	while (batch.hashed < batch.n) {
		unsigned i = batch.hashed++;

		scan_hash(mm, &batch.page[i], &batch.page[i]);
	}
}

static void scan_one_visit(void)
{
	if (batch.visited == batch.names)
		return;
	batch.n += scan_visit(mm, GFN(FIRST_SCANNED + batch.visited), &batch.page[batch.n]) ==
		   SCAN_TAKE;
	batch.visited++;
}

static void scan_one_hash(void)
{
	if (batch.hashed == batch.n)
		return;
	scan_hash(mm, &batch.page[batch.hashed], &batch.page[batch.hashed]);
	batch.hashed++;
}

/* Nothing is under way on any pCPU, so that no hypercall stops half-way for it. */
static void settled(void)
{
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		host_become(i);
		tlb_retire_drain();
	}
	host_sim_rcu_drain();
	for (unsigned i = 0; i < nr_pcpus(); i++)
		pcpu_get(i)->work = 0;
	host_become(0);
}

/* The guest writes to all scanned names: half of the contents come twice, an eighth are zero. */
static void scan_again(unsigned names)
{
	memset(&batch, 0, sizeof(batch));
	batch.names = names;
	for (uint64_t g = FIRST_SCANNED; g < FIRST_SCANNED + SCANNED; g++) {
		mfn_t m = mm_gfn_get_writable(mm, GFN(g));
		struct page_info *pi = page_of(m);

		cr_assert(mfn_valid_value(m));
		memset(arch_mfn_to_virt(m), (int)(g % 8 ? g / 2 % 100 + 1 : 0), PAGE_SIZE);
		share_table_remove(atomic_load(&pi->dom.hash), m);
		atomic_store(&pi->dom.hash, 0);
		atomic_store(&pi->dom.scan, 0);
	}
	settled();
}

static void begin(void)
{
	cr_assert(ZYAN_SUCCESS(
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	machine_memory();
	host_sim_init(2);
	domain_make(T_NAMES, 2);
	cr_assert_eq(scan_init(), 0);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	linear_tree();
	/* Its tables count as loaded nowhere: nobody would answer a shootdown here. */
	tlb_note_load(NULL);
	op_prepare(FIRST_MAPPED);
	/* All that is made at first use, the dynamic linker's addresses of functions included. */
	scan_again(SCANNED);
	scan_visits();
	scan_grace();
	scan_hashes();
	settled();
	for (unsigned i = 0; i < 2; i++)
		op();
	cr_assert_eq(op_rc, 0);
}

static unsigned overlap(const char *what, struct line_set *a, struct line_set *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SET_SIZE; i++) {
		if (!a->line[i] || !in_set(b, a->line[i], false))
			continue;
		n++;
		fprintf(stderr, "%s: line at %#lx, frame %ld\n", what,
			(unsigned long)(a->line[i] * CACHE_LINE),
			(long)arch_virt_to_mfn((void *)(a->line[i] * CACHE_LINE)).v);
	}
	return n;
}

Test(scan_cost, mmu_update_beside_the_scanner)
{
	unsigned alone, visits, hashes, after;
	struct scan_stats s, before;

	begin();
	scan_stats(&before);
	alone = stepped(op, NULL, NULL, NULL);
	cr_assert_gt(alone, MAPPED * 2 * 20, "it was stepped");

	scan_again(SCANNED);
	visits = stepped(op, NULL, NULL, scan_one_visit);
	cr_assert_eq(op_rc, 0);
	cr_assert_eq(batch.visited, SCANNED);
	cr_assert_gt(batch.n, SCANNED / 2);
	scan_grace();
	hashes = stepped(op, NULL, NULL, scan_one_hash);
	cr_assert_eq(op_rc, 0);
	cr_assert_eq(batch.hashed, batch.n);
	scan_stats(&s);
	s.merged -= before.merged;
	s.zero -= before.zero;
	cr_expect_gt(s.merged, SCANNED / 8);
	cr_expect_gt(s.zero, SCANNED / 16);

	/* And when the pages it maps are hints and shared pages themselves. */
	for (unsigned g = 0; g < MAPPED; g++) {
		memset((void *)guest_page(FIRST_MAPPED + g), (int)g / 2 + 1, PAGE_SIZE);
		batch.n = scan_visit(mm, GFN(FIRST_MAPPED + g), &batch.page[0]) == SCAN_TAKE;
		scan_grace();
		if (batch.n)
			scan_hash(mm, &batch.page[0], &batch.page[0]);
	}
	settled();
	op();
	after = stepped(op, NULL, NULL, NULL);
	cr_assert_eq(op_rc, 0);
	printf("# mmu_update, instructions: %.1f alone, %.1f while pages are guarded, %.1f while "
	       "they are merged, %.1f for pages that are shared\n",
	       alone / (2.0 * MAPPED), visits / (2.0 * MAPPED), hashes / (2.0 * MAPPED),
	       after / (2.0 * MAPPED));
	fflush(stdout);
	cr_expect_leq(visits, alone * 1.10);
	cr_expect_leq(hashes, alone * 1.10);
	/* These have no frame that tells the name, so the entry's name is kept beside it. */
	cr_expect_leq(after, alone * 1.25);
}

Test(scan_cost, no_line_is_written_by_one_and_used_by_the_other)
{
	begin();
	stepped(op, &op_writes, &op_reads, NULL);
	scan_again(SCANNED / 8);
	host_become(1);
	stepped(scan_visits, &scan_writes, &scan_reads, NULL);
	scan_grace();
	stepped(scan_hashes, &scan_writes, &scan_reads, NULL);
	host_become(0);
	printf("# lines: mmu_update writes %u and reads %u, the scanner writes %u and reads %u\n",
	       op_writes.n, op_reads.n, scan_writes.n, scan_reads.n);
	fflush(stdout);
	cr_assert_gt(op_writes.n, MAPPED / 8);
	cr_assert_gt(scan_writes.n, SCANNED / 4);
	cr_expect_eq(overlap("both write", &op_writes, &scan_writes), 0);
	cr_expect_eq(overlap("mmu_update writes, the scanner reads", &op_writes, &scan_reads), 0);
	cr_expect_eq(overlap("the scanner writes, mmu_update reads", &scan_writes, &op_reads), 0);
}

/* The same test must see it when both work on the same pages. */
Test(scan_cost, same_pages_do_share_lines)
{
	begin();
	op_prepare(FIRST_SCANNED);
	op();
	scan_again(SCANNED / 8);
	host_become(1);
	stepped(scan_visits, &scan_writes, &scan_reads, NULL);
	host_become(0);
	stepped(op, &op_writes, &op_reads, NULL);
	cr_assert_eq(op_rc, 0);
	cr_expect_gt(overlap("both write", &op_writes, &scan_writes), 0);
}
