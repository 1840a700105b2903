/* SPDX-License-Identifier: MIT */
/* The operations; see bench.h. Each works on its seat only. */
#include "stress/scale_bench/bench.h"

#include <xen/sched.h>
#include <xen/version.h>

#include "memsvc/share_table.h"
#include "percpu/tlb.h"

unsigned share_pages = SEAT_SHARE;

/* From the guest's hypercall to its next instruction. */
static long hypercall(struct seat *s, unsigned nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	const uint64_t args[6] = {a, b, c, d};
	long rc;

	rcu_thread_online();
	rc = world_hypercall(nr, args);
	if (rc < 0)
		die("hypercall %u on pCPU %u: %ld", nr, s->cpu, rc);
	if (!world_leave())
		die("hypercall %u took the vCPU away", nr);
	rcu_thread_offline();
	return rc;
}

static void version(struct seat *s)
{
	hypercall(s, __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
}

static void updates(struct seat *s, unsigned n)
{
	hypercall(s, __HYPERVISOR_mmu_update, (uint64_t)s->map, n, 0, DOMID_SELF);
	hypercall(s, __HYPERVISOR_mmu_update, (uint64_t)s->unmap, n, 0, DOMID_SELF);
}

static void map_unmap(struct seat *s)
{
	updates(s, 1);
}

static void map_unmap_32(struct seat *s)
{
	updates(s, 32);
}

static void send(struct seat *s)
{
	hypercall(s, __HYPERVISOR_event_channel_op, EVTCHNOP_send, (uint64_t)&s->send, 0, 0);
}

/* The guest takes the event: xen/event_channel.h, the FIFO ABI. */
static void receive(struct seat *s)
{
	struct evtchn_fifo_control_block *cb;
	struct domain *d = s->vcpu->domain;
	vcpu_info_t *vi = atomic_load(&s->vcpu->info);
	event_word_t *word;

	/* Where world.c has put them. */
	word = arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(4)));
	cb = arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(5 + s->vcpu->id / 32)));
	cb = (void *)((char *)cb + s->vcpu->id % 32 * 2 * CACHE_LINE);
	if (!vi->evtchn_upcall_pending || !(word[s->port] >> EVTCHN_FIFO_PENDING & 1))
		die("an event of pCPU %u was lost", s->cpu);
	__atomic_store_n(&vi->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&cb->ready, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&word[s->port], 0, __ATOMIC_SEQ_CST);
	s->number++;
}

static void bind_close(struct seat *s)
{
	struct evtchn_bind_ipi bind = {.vcpu = s->vcpu->id};
	struct evtchn_close close;

	hypercall(s, __HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, (uint64_t)&bind, 0, 0);
	close.port = bind.port;
	hypercall(s, __HYPERVISOR_event_channel_op, EVTCHNOP_close, (uint64_t)&close, 0, 0);
}

static void timer(struct seat *s)
{
	uint64_t now = arch_now_ns(); /* sooner than any timer of the hypervisor's own */

	hypercall(s, __HYPERVISOR_set_timer_op, now + NS_PER_US, 0, 0, 0);
	hypercall(s, __HYPERVISOR_set_timer_op, now + 2 * NS_PER_US, 0, 0, 0);
	hypercall(s, __HYPERVISOR_set_timer_op, 0, 0, 0, 0);
}

static void yield(struct seat *s)
{
	hypercall(s, __HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0, 0);
}

static void frames(struct seat *s, unsigned n)
{
	rcu_thread_online();
	for (unsigned i = 0; i < n; i++) {
		s->frame[i] = page_alloc(0);
		if (!mfn_valid_value(s->frame[i]))
			die("no frame left");
	}
	for (unsigned i = 0; i < n; i++)
		page_free(s->frame[i]);
	rcu_thread_offline();
}

static void frames_few(struct seat *s)
{
	frames(s, 16);
}

static void frames_many(struct seat *s)
{
	frames(s, ARRAY_SIZE(s->frame));
}

static void got_message(struct inbox_msg *m)
{
	(void)m;
	seat_of(this_pcpu()->id)->number++;
}

static void message(struct seat *s)
{
	s->msg.fn = got_message;
	rcu_thread_online();
	inbox_post(s->cpu, &s->msg);
	world_leave();
	rcu_thread_offline();
}

static void balloon(struct seat *s)
{
	uint64_t r = (uint64_t)&s->reservation;

	long out = hypercall(s, __HYPERVISOR_memory_op, XENMEM_decrease_reservation, r, 0, 0);
	long in = hypercall(s, __HYPERVISOR_memory_op, XENMEM_populate_physmap, r, 0, 0);

	if (out != SEAT_EXTENTS || in != SEAT_EXTENTS)
		die("%ld of %d pages went, %ld came back", out, SEAT_EXTENTS, in);
}

/* ---- sharing: the scanner's steps (memsvc/scan_impl.h) on the seat's own names ---------------- */

static struct mm *mm_of(struct seat *s)
{
	return &s->vcpu->domain->mm;
}

/* The guest writes: each content twice, and nowhere else. */
static void share_fill(struct seat *s)
{
	rcu_thread_online();
	s->round++;
	for (unsigned i = 0; i < share_pages; i++) {
		mfn_t m = mm_gfn_get_writable(mm_of(s), GFN(s->share + i));
		struct page_info *pi = page_of(m);
		uint64_t *p = arch_mfn_to_virt(m);

		p[0] = s->round;
		p[1] = (uint64_t)s->cpu << 32 | i / 2;
		share_table_remove(atomic_load(&pi->dom.hash), m);
		atomic_store(&pi->dom.hash, 0);
		atomic_store(&pi->dom.scan, 0);
	}
	s->taken = 0;
}

static void share_visit(struct seat *s)
{
	for (unsigned i = 0; i < share_pages; i++)
		s->taken +=
			scan_visit(mm_of(s), GFN(s->share + i), &s->batch[s->taken]) == SCAN_TAKE;
}

struct grace {
	struct rcu_head head;
	_Atomic bool over;
};

static void grace_over(struct rcu_head *head)
{
	atomic_store(&container_of(head, struct grace, head)->over, true);
}

/* Waiting: on bare metal the scanner does something else meanwhile. */
static void share_grace(struct seat *s)
{
	struct grace g = {.over = false};

	(void)s;
	tlb_shootdown_mm(mm_of(s));
	call_rcu(&g.head, grace_over);
	while (!atomic_load(&g.over)) {
		rcu_quiescent_state();
		world_look();
		rcu_poll();
	}
}

static void share_hash(struct seat *s)
{
	for (unsigned done = 0; done < s->taken;) {
		done += scan_hash_some(mm_of(s), &s->batch[done], s->taken - done);
		if (done < s->taken) /* it stops for whatever else the pCPU has to do */
			world_look();
	}
	scan_flush_merged(mm_of(s), s->batch, s->taken);
}

static void share_break(struct seat *s)
{
	for (unsigned i = 0; i < share_pages; i++)
		if (!mfn_valid_value(mm_gfn_get_writable(mm_of(s), GFN(s->share + i))))
			die("no frame for a copy");
}

static void share_check(struct seat *s)
{
	for (unsigned i = 0; i + 1 < share_pages; i += 2)
		s->merged += mm_gfn_to_mfn(mm_of(s), GFN(s->share + i)).v ==
			     mm_gfn_to_mfn(mm_of(s), GFN(s->share + i + 1)).v;
}

static void share_end(struct seat *s)
{
	share_grace(s);
	tlb_retire_drain();
	world_leave();
	rcu_thread_offline();
}

/* ---- controls -------------------------------------------------------------------------------- */

static void own_counter(struct seat *s)
{
	__atomic_fetch_add(&s->number, 1, __ATOMIC_SEQ_CST);
}

static uint64_t one_counter CACHE_ALIGNED;

static void shared_counter(struct seat *s)
{
	(void)s;
	__atomic_fetch_add(&one_counter, 1, __ATOMIC_SEQ_CST);
}

static void counted_map_unmap(struct seat *s)
{
	__atomic_fetch_add(&one_counter, 1, __ATOMIC_SEQ_CST);
	hypercall(s, __HYPERVISOR_mmu_update, (uint64_t)s->map, 1, 0, DOMID_SELF);
	__atomic_fetch_add(&one_counter, 1, __ATOMIC_SEQ_CST);
	hypercall(s, __HYPERVISOR_mmu_update, (uint64_t)s->unmap, 1, 0, DOMID_SELF);
}

/* A ticket lock: what a hypervisor with one big lock would have around it. */
static struct {
	_Atomic uint32_t next, owner;
} one_lock CACHE_ALIGNED;

static void locked(struct seat *s, const struct mmu_update *u)
{
	uint32_t ticket = atomic_fetch_add(&one_lock.next, 1);

	while (atomic_load_explicit(&one_lock.owner, memory_order_acquire) != ticket)
		__builtin_ia32_pause();
	hypercall(s, __HYPERVISOR_mmu_update, (uint64_t)u, 1, 0, DOMID_SELF);
	atomic_store_explicit(&one_lock.owner, ticket + 1, memory_order_release);
}

static void locked_map_unmap(struct seat *s)
{
	locked(s, s->map);
	locked(s, s->unmap);
}

#define BOTH (APART | ONE)

const struct scale_op scale_ops[] = {
	{"xen_version", BOTH, 1, .phase = {{version, true}}},
	{"mmu_update", BOTH, 2, .phase = {{map_unmap, true}}},
	{"mmu_update x32", BOTH, 64, .phase = {{map_unmap_32, true}}},
	{"event send", BOTH, 1, .phase = {{send, true}, {receive, false}}},
	{"port bind, close", BOTH, 2, .phase = {{bind_close, true}}},
	{"set_timer", BOTH, 3, .phase = {{timer, true}}},
	{"yield", BOTH, 1, .phase = {{yield, true}}},
	{"message", BOTH, 1, .phase = {{message, true}}},
	{"frame alloc, free", BOTH, 32, .phase = {{frames_few, true}}},
	{"256 frames", BOTH, 8 * MAGAZINE_SIZE, .phase = {{frames_many, true}}},
	{"decrease, populate", APART, 2 * SEAT_EXTENTS, .phase = {{balloon, true}}},
	{"share a page", APART, 0,
	 .phase = {{share_fill, false},
		   {share_visit, true},
		   {share_grace, false},
		   {share_hash, true},
		   {share_check, false},
		   {share_break, true},
		   {share_end, false}}},
	{"own counter", APART, 1, .control = true, .phase = {{own_counter, true}}},
	{"one counter", APART, 1, .control = true, .phase = {{shared_counter, true}}},
	{"mmu_update, counted", APART, 2, .control = true, .phase = {{counted_map_unmap, true}}},
	{"mmu_update, locked", APART, 2, .control = true, .locked = true,
	 .phase = {{locked_map_unmap, true}}},
	{NULL},
};
