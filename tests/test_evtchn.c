/* SPDX-License-Identifier: MIT */
/* Event channels, 2-level ABI: kinds, links, errno values, masks, kicks, polls, teardown. */
#include "test_evtchn.h"

static struct domain *a, *b;

static void setup(void)
{
	world_sim(2);
	a = new_domain(2);
	b = new_domain(2);
	world_settle();
}

TestSuite(evtchn, .init = setup);

static void link_ports(evtchn_port_t *pa, evtchn_port_t *pb)
{
	cr_assert_eq(evtchn_alloc_unbound(a, b->id, pa), 0);
	cr_assert_eq(evtchn_bind_interdomain(b, a, *pa, pb), 0);
	g2_upcall(b->vcpu[0], NULL);
}

static unsigned status_of(struct domain *d, evtchn_port_t p, struct evtchn_status *st)
{
	memset(st, 0xee, sizeof(*st));
	cr_assert_eq(evtchn_status(d, p, st), 0);
	return st->status;
}

Test(evtchn, interdomain)
{
	struct evtchn_status st;
	evtchn_port_t pa, pb;

	cr_assert_eq(evtchn_alloc_unbound(a, b->id, &pa), 0);
	cr_assert_eq(status_of(a, pa, &st), EVTCHNSTAT_unbound);
	cr_assert_eq(st.u.unbound.dom, b->id);
	cr_assert_eq(evtchn_send(a, pa), 0, "a send into the void is no error");
	cr_assert_eq(evtchn_bind_interdomain(b, a, pa, &pb), 0);
	cr_assert(g2_pending(b, pb), "the binder is told to look");
	cr_assert(!g2_pending(a, pa));
	cr_assert_eq(status_of(b, pb, &st), EVTCHNSTAT_interdomain);
	cr_assert_eq(st.u.interdomain.dom, a->id);
	cr_assert_eq(st.u.interdomain.port, pa);
	cr_assert_eq(status_of(a, pa, &st), EVTCHNSTAT_interdomain);
	cr_assert_eq(st.u.interdomain.port, pb);
	cr_assert_eq(g2_upcall(b->vcpu[0], NULL), 1);

	cr_assert_eq(evtchn_send(a, pa), 0);
	cr_assert(g2_pending(b, pb));
	cr_assert(vcpu_event_pending(b->vcpu[0]));
	cr_assert(!vcpu_event_pending(b->vcpu[1]));
	cr_assert_eq(g2_upcall(b->vcpu[0], NULL), 1);
	cr_assert_eq(evtchn_send(b, pb), 0);
	cr_assert(g2_pending(a, pa));
}

Test(evtchn, bind_errors)
{
	evtchn_port_t pa, pb, x;

	cr_assert_eq(evtchn_bind_interdomain(b, a, 0, &x), -XEN_EINVAL);
	cr_assert_eq(evtchn_bind_interdomain(b, a, 5, &x), -XEN_EINVAL, "not allocated");
	cr_assert_eq(evtchn_bind_interdomain(b, a, 4096, &x), -XEN_EINVAL);
	cr_assert_eq(evtchn_bind_interdomain(b, a, UINT32_MAX, &x), -XEN_EINVAL);
	cr_assert_eq(evtchn_alloc_unbound(a, a->id, &pa), 0);
	cr_assert_eq(evtchn_bind_interdomain(b, a, pa, &x), -XEN_EINVAL, "reserved for another");
	cr_assert_eq(evtchn_bind_interdomain(a, a, pa, &pb), 0, "loopback");
	cr_assert_neq(pa, pb);
	cr_assert_eq(evtchn_bind_interdomain(a, a, pa, &x), -XEN_EINVAL, "taken");
	g2_upcall(a->vcpu[0], NULL);
	cr_assert_eq(evtchn_send(a, pa), 0);
	cr_assert(g2_pending(a, pb) && !g2_pending(a, pa));
	/* A failed bind leaves no port behind. */
	for (unsigned i = 0; i < 10000; i++)
		evtchn_bind_interdomain(b, a, pa, &x);
	cr_assert_eq(evtchn_alloc_unbound(b, 0, &x), 0);
	cr_assert_eq(x, 1);
}

Test(evtchn, close_unbinds_the_peer)
{
	struct evtchn_status st;
	evtchn_port_t pa, pb, again;

	link_ports(&pa, &pb);
	evtchn_send(b, pb);
	cr_assert(g2_pending(a, pa));
	cr_assert_eq(evtchn_close(a, pa), 0);
	cr_assert(!g2_pending(a, pa), "nothing is left pending");
	cr_assert_eq(status_of(a, pa, &st), EVTCHNSTAT_closed);
	cr_assert_eq(status_of(b, pb, &st), EVTCHNSTAT_unbound);
	cr_assert_eq(st.u.unbound.dom, a->id);
	cr_assert_eq(evtchn_send(b, pb), 0);
	cr_assert_eq(evtchn_send(a, pa), -XEN_EINVAL);
	cr_assert_eq(evtchn_close(a, pa), -XEN_EINVAL);
	cr_assert_eq(evtchn_close(a, 0), -XEN_EINVAL);
	cr_assert_eq(evtchn_close(a, 70000), -XEN_EINVAL);
	cr_assert_eq(evtchn_bind_interdomain(a, b, pb, &again), 0);
	cr_assert_eq(again, pa, "the lowest free port");
}

Test(evtchn, virq)
{
	struct evtchn_status st;
	evtchn_port_t p0, p1, x;

	cr_assert_eq(evtchn_bind_virq(a, VIRQ_TIMER, 1, &p1), 0);
	cr_assert_eq(evtchn_bind_virq(a, VIRQ_TIMER, 1, &x), -XEN_EEXIST);
	cr_assert_eq(evtchn_bind_virq(a, VIRQ_TIMER, 2, &x), -XEN_ENOENT);
	cr_assert_eq(evtchn_bind_virq(a, EVTCHN_NR_VIRQS, 0, &x), -XEN_EINVAL);
	cr_assert_eq(evtchn_bind_virq(a, VIRQ_CONSOLE, 1, &x), -XEN_EINVAL, "global: vCPU 0 only");
	cr_assert_eq(evtchn_bind_virq(a, VIRQ_CONSOLE, 0, &p0), 0);
	cr_assert_eq(status_of(a, p1, &st), EVTCHNSTAT_virq);
	cr_assert_eq(st.u.virq, VIRQ_TIMER);
	cr_assert_eq(st.vcpu, 1);

	send_guest_vcpu_virq(a->vcpu[0], VIRQ_TIMER);
	cr_assert(!g2_pending(a, p1));
	send_guest_vcpu_virq(a->vcpu[1], VIRQ_TIMER);
	cr_assert(g2_pending(a, p1) && vcpu_event_pending(a->vcpu[1]));
	cr_assert_eq(evtchn_send(a, p1), -XEN_EINVAL, "guests cannot raise VIRQs");
	cr_assert_eq(evtchn_bind_vcpu(a, p1, 0), -XEN_EINVAL, "a per-vCPU VIRQ stays");
	cr_assert_eq(evtchn_bind_vcpu(a, p0, 1), 0);
	send_guest_global_virq(a, VIRQ_CONSOLE);
	cr_assert(g2_pending(a, p0));
	cr_assert_eq(evtchn_close(a, p0), 0);
	cr_assert_eq(evtchn_close(a, p1), 0);
	send_guest_vcpu_virq(a->vcpu[1], VIRQ_TIMER);
	cr_assert(!g2_pending(a, p1));
	cr_assert_eq(evtchn_bind_virq(a, VIRQ_TIMER, 1, &x), 0);
	cr_assert_eq(evtchn_bind_virq(a, VIRQ_CONSOLE, 0, &x), 0);
}

Test(evtchn, ipi_and_bind_vcpu)
{
	struct evtchn_status st;
	evtchn_port_t ipi, pa, pb;

	cr_assert_eq(evtchn_bind_ipi(a, 2, &ipi), -XEN_ENOENT);
	cr_assert_eq(evtchn_bind_ipi(a, 1, &ipi), 0);
	cr_assert_eq(status_of(a, ipi, &st), EVTCHNSTAT_ipi);
	cr_assert_eq(evtchn_send(a, ipi), 0);
	cr_assert(vcpu_event_pending(a->vcpu[1]) && !vcpu_event_pending(a->vcpu[0]));
	cr_assert_eq(evtchn_bind_vcpu(a, ipi, 0), -XEN_EINVAL);
	link_ports(&pa, &pb);
	cr_assert_eq(evtchn_bind_vcpu(b, pb, 7), -XEN_ENOENT);
	cr_assert_eq(evtchn_bind_vcpu(b, 4000, 1), -XEN_EINVAL);
	cr_assert_eq(evtchn_bind_vcpu(b, pb, 1), 0);
	evtchn_send(a, pa);
	cr_assert(vcpu_event_pending(b->vcpu[1]) && !vcpu_event_pending(b->vcpu[0]));
}

Test(evtchn, masks)
{
	evtchn_port_t pa, pb;

	link_ports(&pa, &pb);
	g2_mask(b, pb);
	evtchn_send(a, pa);
	cr_assert(g2_pending(b, pb));
	cr_assert(!vcpu_event_pending(b->vcpu[0]));
	cr_assert_eq(evtchn_unmask(b, 4095), -XEN_EINVAL);
	cr_assert_eq(evtchn_unmask(b, pb), 0);
	cr_assert(vcpu_event_pending(b->vcpu[0]));
	cr_assert_eq(g2_upcall(b->vcpu[0], NULL), 1);
	/* Unmasked and nothing pending: no upcall. */
	g2_mask(b, pb);
	evtchn_unmask(b, pb);
	cr_assert(!vcpu_event_pending(b->vcpu[0]));
	/* Upcalls masked: pending, not deliverable. */
	b->vcpu[0]->info->evtchn_upcall_mask = 1;
	evtchn_send(a, pa);
	cr_assert(!vcpu_event_pending(b->vcpu[0]));
	b->vcpu[0]->info->evtchn_upcall_mask = 0;
	cr_assert(vcpu_event_pending(b->vcpu[0]));
}

Test(evtchn, one_kick_per_batch)
{
	evtchn_port_t pa[64], pb[64];
	uint64_t before;

	for (unsigned i = 0; i < 64; i++)
		link_ports(&pa[i], &pb[i]);
	pretend_running(b->vcpu[0], 1);
	before = kicks(1);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 64; i++)
			evtchn_send(a, pa[i]);
	cr_assert_eq(kicks(1) - before, 1);
	cr_assert_eq(g2_upcall(b->vcpu[0], NULL), 64);
	/* The guest took them all: the next one kicks anew (its pCPU has handled the first). */
	host_become(1);
	this_pcpu()->current = b->vcpu[0];
	inbox_drain();
	host_become(0);
	atomic_store(&b->vcpu[0]->unit.state, US_RUNNING);
	evtchn_send(a, pa[0]);
	cr_assert_eq(kicks(1) - before, 2);
	/* To oneself: no kick. */
	host_become(1);
	evtchn_send(b, pb[0]);
	before = kicks(1);
	g2_upcall(b->vcpu[0], NULL);
	evtchn_send(a, pa[0]);
	cr_assert(vcpu_event_pending(b->vcpu[0]));
	cr_assert_eq(kicks(1), before);
}

Test(evtchn, all_ports)
{
	evtchn_port_t p, last = 0;
	uint64_t free_before = frames_free_count();
	unsigned n = 0;
	int rc;

	while (!(rc = evtchn_alloc_unbound(a, 0, &p))) {
		cr_assert_eq(p, last + 1);
		last = p;
		n++;
	}
	cr_assert_eq(rc, -XEN_ENOSPC);
	cr_assert_eq(n, EVTCHN_2L_NR_CHANNELS - 1);
	cr_assert(free_before - frames_free_count() <= EVTCHN_2L_NR_CHANNELS / 64);
	cr_assert_eq(evtchn_close(a, 1000), 0);
	cr_assert_eq(evtchn_close(a, 77), 0);
	cr_assert_eq(evtchn_alloc_unbound(a, 0, &p), 0);
	cr_assert_eq(p, 77);
	cr_assert_eq(evtchn_alloc_unbound(a, 0, &p), 0);
	cr_assert_eq(p, 1000);
	cr_assert_eq(evtchn_alloc_unbound(a, 0, &p), -XEN_ENOSPC);
	cr_assert_eq(evtchn_alloc_unbound(b, 0, &p), 0, "another domain's are its own");
}

static unsigned hyp_calls;

static void hyp_fn(struct domain *d, evtchn_port_t port)
{
	cr_assert_eq(d, a);
	hyp_calls += port;
}

Test(evtchn, hypervisor_end)
{
	struct evtchn_status st;
	evtchn_port_t p;

	hyp_calls = 0;
	cr_assert_eq(evtchn_alloc_hyp(a, 0, hyp_fn, &p), 0);
	cr_assert_eq(status_of(a, p, &st), EVTCHNSTAT_interdomain);
	cr_assert_eq(st.u.interdomain.dom, 0);
	cr_assert_eq(evtchn_send(a, p), 0);
	cr_assert_eq(hyp_calls, p);
	evtchn_notify_hyp_port(a, p);
	cr_assert(g2_pending(a, p));
	cr_assert_eq(evtchn_bind_vcpu(a, p, 1), 0);
	cr_assert_eq(evtchn_close(a, p), 0);
	evtchn_notify_hyp_port(a, p);
	cr_assert(!g2_pending(a, p));
	cr_assert_eq(evtchn_send(a, p), -XEN_EINVAL);
}

Test(evtchn, poll)
{
	struct vcpu *v = b->vcpu[1];
	evtchn_port_t pa, pb, other, oa, list[2];

	link_ports(&pa, &pb);
	link_ports(&oa, &other);
	g2_mask(b, pb); /* polling works on masked ports */
	list[0] = pb;
	list[1] = 4095;
	cr_assert_eq(evtchn_poll_begin(v, list, 2), -XEN_EINVAL);
	cr_assert_eq(evtchn_poll_begin(v, list, 129), -XEN_EINVAL);
	cr_assert_eq(evtchn_poll_begin(v, list, 1), 0);
	cr_assert(!evtchn_port_pending(v, pb));
	evtchn_send(a, oa);
	cr_assert(v->polling, "another port does not end it");
	evtchn_send(a, pa);
	cr_assert(!v->polling);
	cr_assert(evtchn_port_pending(v, pb));
	cr_assert(atomic_load(&v->unit.state) & UF_WAKE);
	cr_assert(!evtchn_poll_end(v));
	/* After the poll, senders are spared the look. */
	vcpu_event_pending(v);
	cr_assert_eq(b->evt.poll_mask[0], 0);
	/* An upcall ends a poll as well. */
	list[0] = other;
	cr_assert_eq(evtchn_poll_begin(v, list, 1), 0);
	cr_assert_eq(evtchn_bind_vcpu(b, pb, 1), 0);
	evtchn_unmask(b, pb);
	cr_assert(!v->polling);
}

static void moved_info(struct vcpu *v, vcpu_info_t *to)
{
	vcpu_info_t *old = v->info;

	evtchn_vcpu_info_moved(v, to);
	cr_assert_eq(v->info, to);
	cr_assert_neq(old, to);
}

Test(evtchn, vcpu_info_moves)
{
	struct vcpu *v = b->vcpu[0];
	vcpu_info_t *to = guest_page(b, 9);
	evtchn_port_t pa, pb;

	link_ports(&pa, &pb);
	evtchn_send(a, pa);
	v->info->evtchn_upcall_mask = 1;
	v->info->arch.cr2 = 0x1234;
	moved_info(v, to);
	cr_assert_eq(to->evtchn_upcall_mask, 1);
	cr_assert_eq(to->arch.cr2, 0x1234);
	cr_assert_eq(g2_upcall(v, NULL), 1, "found at the new place");
	evtchn_send(a, pa);
	cr_assert_eq(g2_upcall(v, NULL), 1);
	/* From none: masked, and everything pending. */
	atomic_store(&v->info, NULL);
	evtchn_send(a, pa);
	cr_assert(!vcpu_event_pending(v));
	memset(guest_page(b, 10), 0x55, PAGE_SIZE);
	moved_info(v, guest_page(b, 10));
	cr_assert_eq(v->info->evtchn_upcall_mask, 1);
	cr_assert_eq(v->info->arch.cr2, 0);
	cr_assert_eq(g2_upcall(v, NULL), 1);
}

Test(evtchn, reset)
{
	evtchn_port_t pa, pb, virq, ipi, hyp, x;
	struct evtchn_status st;

	link_ports(&pa, &pb);
	cr_assert_eq(evtchn_bind_virq(b, VIRQ_TIMER, 0, &virq), 0);
	cr_assert_eq(evtchn_bind_ipi(b, 0, &ipi), 0);
	cr_assert_eq(evtchn_alloc_hyp(b, 0, hyp_fn, &hyp), 0);
	cr_assert_eq(evtchn_reset(b), 0);
	cr_assert_eq(status_of(a, pa, &st), EVTCHNSTAT_unbound);
	cr_assert_eq(status_of(b, pb, &st), EVTCHNSTAT_closed);
	cr_assert_eq(status_of(b, virq, &st), EVTCHNSTAT_closed);
	cr_assert_eq(status_of(b, hyp, &st), EVTCHNSTAT_interdomain);
	cr_assert(g2_pending(b, hyp), "the guest is told to look there");
	cr_assert_eq(evtchn_bind_virq(b, VIRQ_TIMER, 0, &x), 0);
	/* Something else to do: it continues later, and each call gets on. */
	for (unsigned i = 0; i < 200; i++)
		cr_assert_eq(evtchn_alloc_unbound(b, 0, &x), 0);
	this_pcpu()->work |= WORK_RESCHED;
	for (unsigned n = 0; evtchn_reset(b) == -HC_CONTINUE; n++)
		cr_assert(n < 300);
	this_pcpu()->work = 0;
	cr_assert_eq(evtchn_alloc_unbound(b, 0, &x), 0);
	cr_assert_eq(x, 1);
}

Test(evtchn, teardown)
{
	struct evtchn_status st;
	evtchn_port_t pa, pb, x;

	link_ports(&pa, &pb);
	cr_assert_eq(evtchn_alloc_unbound(b, a->id, &x), 0);
	cr_assert(!evtchn_teardown(b), "senders may still be there");
	cr_assert_eq(status_of(a, pa, &st), EVTCHNSTAT_unbound);
	cr_assert_eq(st.u.unbound.dom, b->id);
	cr_assert_eq(evtchn_send(a, pa), 0);
	cr_assert_eq(evtchn_bind_interdomain(a, b, x, &x), -XEN_EINVAL);
	host_sim_rcu_drain();
	cr_assert(evtchn_teardown(b));
}

/* ---- through the hypercall ---- */

static long op(struct domain *d, unsigned cmd, void *arg)
{
	this_pcpu()->current = d->vcpu[0];
	return do_event_channel_op(cmd, (uint64_t)arg);
}

Test(evtchn, hypercall)
{
	struct evtchn_alloc_unbound au = {.dom = DOMID_SELF, .remote_dom = 0};
	struct evtchn_bind_interdomain bi;
	struct evtchn_status st = {.dom = DOMID_SELF};
	struct evtchn_bind_pirq pirq = {0};
	struct evtchn_reset rs = {.dom = a->id};
	struct evtchn_bind_ipi ipi = {.vcpu = 1};
	struct evtchn_send snd;
	struct evtchn_op old = {.cmd = EVTCHNOP_status};

	cr_assert_eq(op(a, EVTCHNOP_alloc_unbound, &au), 0, "to domain 0, present or not");
	cr_assert_eq(au.port, 1);
	au = (struct evtchn_alloc_unbound){.dom = b->id, .remote_dom = b->id};
	cr_assert_eq(op(a, EVTCHNOP_alloc_unbound, &au), -XEN_EPERM);
	au.dom = 999;
	cr_assert_eq(op(a, EVTCHNOP_alloc_unbound, &au), -XEN_ESRCH);
	au = (struct evtchn_alloc_unbound){.dom = a->id, .remote_dom = b->id};
	cr_assert_eq(op(a, EVTCHNOP_alloc_unbound, &au), 0);
	bi = (struct evtchn_bind_interdomain){.remote_dom = 999, .remote_port = au.port};
	cr_assert_eq(op(b, EVTCHNOP_bind_interdomain, &bi), -XEN_ESRCH);
	bi.remote_dom = a->id;
	cr_assert_eq(op(b, EVTCHNOP_bind_interdomain, &bi), 0);
	snd.port = bi.local_port;
	cr_assert_eq(op(b, EVTCHNOP_send, &snd), 0);
	cr_assert(g2_pending(a, au.port));
	st.port = au.port;
	cr_assert_eq(op(a, EVTCHNOP_status, &st), 0);
	cr_assert_eq(st.status, EVTCHNSTAT_interdomain);
	st.dom = b->id;
	cr_assert_eq(op(a, EVTCHNOP_status, &st), -XEN_EPERM);
	cr_assert_eq(op(a, EVTCHNOP_bind_pirq, &pirq), -XEN_EINVAL);
	cr_assert_eq(op(a, EVTCHNOP_bind_ipi, &ipi), 0);
	cr_assert_eq(op(a, EVTCHNOP_send, (void *)8), -XEN_EFAULT);
	cr_assert_eq(op(a, 14, &snd), -XEN_ENOSYS);
	cr_assert_eq(op(a, 1000, &snd), -XEN_ENOSYS);
	old.u.status.dom = DOMID_SELF;
	old.u.status.port = ipi.port;
	cr_assert_eq(do_event_channel_op_compat((uint64_t)&old), 0);
	cr_assert_eq(old.u.status.status, EVTCHNSTAT_ipi);
	cr_assert_eq(old.u.status.vcpu, 1);
	old.cmd = EVTCHNOP_reset;
	cr_assert_eq(do_event_channel_op_compat((uint64_t)&old), -XEN_ENOSYS);
	cr_assert_eq(op(a, EVTCHNOP_reset, &rs), 0);
	rs.dom = b->id;
	cr_assert_eq(op(a, EVTCHNOP_reset, &rs), -XEN_EPERM);
}
