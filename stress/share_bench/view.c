/* SPDX-License-Identifier: MIT */
/* Real mappings of guest memory; see view.h. */
#include "stress/share_bench/view.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/host/host.h"
#include "memsvc/name.h"
#include "stress/share_bench/images.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define LARGE (2UL << 20)
#define PFEC_P 0x01u
#define PFEC_W 0x02u

struct view_stats view_stats;

static int arena_fd;
static struct view *views[IMG_MAX];
static unsigned nr_views;

static uint8_t *va_of(const struct view *v, uint64_t g)
{
	return v->base + (g << PAGE_SHIFT);
}

static void map_frames(uint8_t *at, uint64_t mfn, uint64_t n, int prot)
{
	off_t from = (off_t)((mfn - HOST_FIRST_MFN) << PAGE_SHIFT);

	if (mmap(at, n << PAGE_SHIFT, prot, MAP_SHARED | MAP_FIXED, arena_fd, from) == MAP_FAILED)
		die("can't map frames: %s", strerror(errno));
}

static void map_zeroes(uint8_t *at, uint64_t n)
{
	if (mmap(at, n << PAGE_SHIFT, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		die("can't map zero pages: %s", strerror(errno));
}

/* ---- faults ---------------------------------------------------------------------------------- */

static struct view *view_at(uintptr_t addr)
{
	for (unsigned i = 0; i < nr_views; i++)
		if (addr - (uintptr_t)views[i]->base < views[i]->pages << PAGE_SHIFT)
			return views[i];
	return NULL;
}

/* In guest mode, a write that the MMU refused. Locked. */
static void write_fault(struct view *v, uint64_t g)
{
	uint32_t ec;
	mfn_t m;

	rcu_thread_online();
	if (mm_fault(v->mm, v->root, g << PAGE_SHIFT, PFEC_P | PFEC_W, true, &ec) != MM_FAULT_RETRY)
		die("name %llu cannot be written", (unsigned long long)g);
	m = mm_gfn_to_mfn(v->mm, GFN(g));
	if (m.v != v->mfn[g]) {
		map_frames(va_of(v, g), m.v, 1, PROT_READ | PROT_WRITE);
		v->mfn[g] = (uint32_t)m.v;
	} else if (mprotect(va_of(v, g), PAGE_SIZE, PROT_READ | PROT_WRITE)) {
		die("can't allow writing: %s", strerror(errno));
	}
	host_service();
	rcu_thread_offline();
	atomic_fetch_add_explicit(&view_stats.faults, 1, memory_order_relaxed);
}

/* In the thread of the guests' pCPU. A read faults only while its batch is not mapped. */
static void fault(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;
	const ucontext_t *uc = context;
	struct view *v = view_at(addr);
	int err = errno;

	if (!v || !this_pcpu()) {
		signal(sig, SIG_DFL); /* a crash like any other: the instruction runs again */
		return;
	}
	view_lock(v);
	if ((uint64_t)uc->uc_mcontext.gregs[REG_ERR] & PFEC_W)
		write_fault(v, (addr - (uintptr_t)v->base) >> PAGE_SHIFT);
	view_unlock(v);
	errno = err;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

/*
 * The arena's memory. The hypervisor reaches all frames through large pages; so does this program
 * when it may mount a tmpfs of its own, which nobody else sees and which ends with it.
 */
static int arena_file(void)
{
	int fd = -1;

	if (!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("arena", "/tmp", "tmpfs", 0, "huge=always,size=100%"))
		fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("arena", MFD_CLOEXEC);
}

/* Addresses for @frames pages, the first @skew pages behind a multiple of a large page. */
static uint8_t *reserve(uint64_t frames, uint64_t skew)
{
	uint8_t *p = mmap(NULL, (frames << PAGE_SHIFT) + 2 * LARGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("no addresses for %llu pages", (unsigned long long)frames);
	return (uint8_t *)ROUND_UP((uintptr_t)p, LARGE) + (skew << PAGE_SHIFT);
}

void view_arena(uint64_t frames)
{
	struct sigaction sa = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};

	arena_fd = arena_file();
	if (arena_fd < 0 || ftruncate(arena_fd, (off_t)(frames << PAGE_SHIFT)))
		die("no memory for an arena");
	host_arena = reserve(frames, 0);
	host_arena_frames = frames;
	map_frames(host_arena, HOST_FIRST_MFN, frames, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &sa, NULL);
}

void view_open(struct view *v, struct mm *mm, mfn_t root, uint64_t pages)
{
	v->mm = mm;
	v->root = root;
	v->pages = pages;
	v->mfn = calloc(pages, sizeof(*v->mfn));
	/* Small pages in the view, whatever the arena has. */
	v->base = reserve(pages, 1);
	if (!v->mfn)
		die("no memory for a view");
	pthread_mutex_init(&v->lock, NULL);
	for (uint64_t g = 0; g < pages; g++)
		v->mfn[g] = (uint32_t)mm_gfn_to_mfn(mm, GFN(g)).v;
	for (uint64_t g = 0, n; g < pages; g += n) {
		for (n = 1; g + n < pages && v->mfn[g + n] == v->mfn[g] + n;)
			n++;
		map_frames(va_of(v, g), v->mfn[g], n, PROT_READ | PROT_WRITE);
		view_stats.maps++;
	}
	views[nr_views++] = v;
}

void view_lock(struct view *v)
{
	pthread_mutex_lock(&v->lock);
}

void view_unlock(struct view *v)
{
	pthread_mutex_unlock(&v->lock);
}

/* ---- what the scanner asks for --------------------------------------------------------------- */

void view_protect(struct view *v, uint64_t first, uint64_t n)
{
	if (mprotect(va_of(v, first), n << PAGE_SHIFT, PROT_READ))
		die("can't protect: %s", strerror(errno));
	view_stats.maps++;
}

/* How many of @n pages one mapping can hold, frames @mfn[0], @mfn[1] and so on. */
static uint64_t run_length(const uint32_t *mfn, uint64_t n)
{
	uint64_t step = mfn[0] != share_zero_frame().v, run = 1;

	while (run < n && mfn[run] == mfn[0] + run * step)
		run++;
	return run;
}

void view_follow(struct view *v, uint64_t first, uint64_t n)
{
	uint32_t now[VIEW_BATCH];
	uint64_t run;

	for (uint64_t i = 0; i < n; i++)
		now[i] = (uint32_t)mm_gfn_to_mfn(v->mm, GFN(first + i)).v;
	if (!memcmp(now, &v->mfn[first], n * sizeof(*now)))
		return;
	/* This program's other thread maps nothing in the hole: it waits for the lock. */
	munmap(va_of(v, first), n << PAGE_SHIFT);
	for (uint64_t i = 0; i < n; i += run) {
		run = run_length(&now[i], n - i);
		if (now[i] == share_zero_frame().v)
			map_zeroes(va_of(v, first + i), run);
		else
			map_frames(va_of(v, first + i), now[i], run, PROT_READ);
		view_stats.remaps++;
		view_stats.maps++;
	}
	memcpy(&v->mfn[first], now, n * sizeof(*now));
	if (madvise(va_of(v, first), n << PAGE_SHIFT, MADV_POPULATE_READ))
		die("can't fill in page tables: %s", strerror(errno));
}
