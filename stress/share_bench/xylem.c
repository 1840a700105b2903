/* SPDX-License-Identifier: MIT */
/* Xylem's side; see xylem.h. pCPU 0 scans, pCPU 1 is the guests' and writes. */
#include "stress/share_bench/xylem.h"

#include <stdio.h>

#include "core/domain.h"
#include "core/host/host.h"
#include "memsvc/p2m.h"
#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"
#include "stress/share_bench/view.h"

#define ENTRIES 512UL
#define TABLE_FLAGS (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)

static struct {
	struct images *im;
	struct xylem_result *out;
	struct view view[IMG_MAX];
	uint64_t maps_max;
	_Atomic bool filled, over;
} run;

/* ---- the machine and its domains ------------------------------------------------------------- */

static uint64_t l1_tables(uint64_t pages)
{
	return DIV_ROUND_UP(pages, ENTRIES);
}

static void fill_table(struct mm *mm, uint64_t table, uint64_t first, uint64_t n)
{
	_Atomic uint64_t *t = arch_mfn_to_virt(mm_gfn_to_mfn(mm, GFN(table)));

	for (uint64_t i = 0; i < n; i++)
		t[i] = (first + i) << PAGE_SHIFT | TABLE_FLAGS;
}

static void serve(void)
{
	host_service();
	this_pcpu()->work = 0;
}

/* Guest tables as a Linux guest's direct map: name g at address g pages. */
static mfn_t build_tables(struct mm *mm, uint64_t pages)
{
	uint64_t l1 = pages, l2 = l1 + l1_tables(pages), l3 = l2 + 1, l4 = l3 + 1;
	mfn_t root;

	for (uint64_t i = 0; i < l1_tables(pages); i++)
		fill_table(mm, l1 + i, i * ENTRIES, MIN(ENTRIES, pages - i * ENTRIES));
	fill_table(mm, l2, l1, l1_tables(pages));
	fill_table(mm, l3, l2, 1);
	fill_table(mm, l4, l3, 1);
	for (int rc; (rc = mm_base_get(mm, GFN(l4), &root));) {
		if (rc != MM_PREEMPTED)
			die("the guest's tables are refused: %d", rc);
		serve();
	}
	return root;
}

static void make_domain(struct view *v, unsigned id)
{
	uint64_t pages = run.im->mix.pages, names = pages + l1_tables(pages) + 3;
	struct domain_params p = {.name = "guest", .kind = "image", .vcpus = 1, .nr_pages = names};
	struct domain *d;

	p.id = (domid_t)id;
	if (domain_create(&d, &p))
		die("no memory for a domain");
	/* Records first, so that the frames behind the names follow each other. */
	for (uint64_t g = 0; g < names; g += RECS_PER_LEAF)
		if (!p2m_rec_make(&d->mm, g))
			die("no memory for the P2M");
	if (mm_populate(&d->mm, GFN(0), names) != names)
		die("no memory for an image");
	domain_start(d);
	view_open(v, &d->mm, build_tables(&d->mm, pages), pages);
}

static void make_machine(void)
{
	static char log[1 << 16], records[1 << 16];
	uint64_t pages = run.im->mix.guests * run.im->mix.pages;
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, (pages + pages / 8 + 8192)
								    << PAGE_SHIFT};

	host_rcu_select(HOST_RCU_QSBR);
	host_clock_virtual(false);
	host_console_capture(0, log, sizeof(log));
	host_console_capture(1, records, sizeof(records));
	view_arena(r.size >> PAGE_SHIFT);
	if (frames_init(&r, 1))
		die("no memory for the frame table");
}

static void make_domains(void)
{
	domains_init();
	if (scan_init())
		die("no memory for the sharing table");
	for (unsigned i = 0; i < run.im->mix.guests; i++) {
		make_domain(&run.view[i], i + 1);
		run.im->base[i] = run.view[i].base;
	}
}

/* ---- scanning -------------------------------------------------------------------------------- */

struct grace {
	struct rcu_head head;
	bool over;
};

static void grace_over(struct rcu_head *head)
{
	container_of(head, struct grace, head)->over = true;
}

static void grace_period(void)
{
	struct grace g = {.over = false};

	call_rcu(&g.head, grace_over);
	while (!g.over)
		host_service();
}

static double lap(double *since)
{
	double now = cpu_thread_s(), t = now - *since;

	*since = now;
	return t;
}

/* One batch, by the scanner's own steps; what memsvc/scan.c does in slices. */
static void scan_batch(struct view *v, uint64_t first, uint64_t n)
{
	static struct scan_page page[VIEW_BATCH];
	struct xylem_result *out = run.out;
	double t = cpu_thread_s();
	unsigned taken = 0, done = 0;

	view_lock(v);
	for (uint64_t g = first; g < first + n; g++)
		taken += scan_visit(v->mm, GFN(g), &page[taken]) == SCAN_TAKE;
	tlb_shootdown_mm(v->mm);
	view_protect(v, first, n);
	view_unlock(v);
	grace_period();
	out->guard_s += lap(&t);

	view_lock(v);
	while (done < taken) {
		done += scan_hash_some(v->mm, &page[done], taken - done);
		/* It stops for whatever else the pCPU has to do: nothing that ends a grace period,
		 * since frames that have been replaced are still mapped. */
		timers_run(arch_now_ns());
		this_pcpu()->work = 0;
	}
	scan_flush_merged(v->mm, page, taken);
	out->hash_s += lap(&t);
	view_follow(v, first, n);
	view_unlock(v);
	host_service();
	out->map_s += lap(&t);
	out->scanned += taken;
}

static void scan_all(void)
{
	for (unsigned i = 0; i < run.im->mix.guests; i++) {
		struct view *v = &run.view[i];

		for (uint64_t g = 0; g < v->pages; g += VIEW_BATCH) {
			if (view_stats.maps + 2 * VIEW_BATCH > run.maps_max) {
				run.out->maps_short = true;
				return;
			}
			scan_batch(v, g, MIN(VIEW_BATCH, v->pages - g));
		}
	}
}

/* ---- the two pCPUs --------------------------------------------------------------------------- */

static void wait_for(_Atomic bool *what)
{
	while (!atomic_load(what))
		host_service();
}

static void scanner_main(void)
{
	struct xylem_result *out = run.out;
	struct image_frames fr;
	struct scan_stats st;
	double start;

	make_domains();
	images_fill(run.im);
	start = cpu_process_s();
	atomic_store(&run.filled, true);
	scan_all();
	out->cpu_s = cpu_process_s() - start;
	atomic_store(&out->writer.stop, true);
	wait_for(&run.over);
	if (!images_frames(run.im, &fr))
		die("frame numbers are hidden: run as root");
	scan_stats(&st);
	out->guessed = st.guessed;
	out->merged = fr.pages - fr.frames;
	out->faults = atomic_load(&view_stats.faults);
	out->remaps = view_stats.remaps;
	out->wrong = images_wrong(run.im) + out->writer.wrong;
}

static void writer_main(void)
{
	rcu_thread_offline();
	while (!atomic_load(&run.filled))
		cpu_relax();
	writer_loop(&run.out->writer);
	rcu_thread_online();
	atomic_store(&run.over, true);
}

static void pcpu_main(void *arg)
{
	(void)arg;
	if (this_pcpu()->id == 0)
		scanner_main();
	else
		writer_main();
}

static uint64_t max_map_count(void)
{
	unsigned long n = 65530;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");

	if (f && fscanf(f, "%lu", &n) != 1)
		n = 65530;
	if (f)
		fclose(f);
	return n;
}

void xylem_run(struct images *im, unsigned rate, struct xylem_result *out)
{
	*out = (struct xylem_result){.writer = {.im = im, .rate = rate}};
	run.im = im;
	run.out = out;
	run.maps_max = max_map_count() - 200;
	make_machine();
	host_threads_start(2, pcpu_main, NULL);
	host_threads_join();
}
