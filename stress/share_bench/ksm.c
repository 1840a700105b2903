/* SPDX-License-Identifier: MIT */
/* Linux KSM on the images; see ksm.h. */
#include "stress/share_bench/ksm.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KSM "/sys/kernel/mm/ksm/"

static uint64_t knob(const char *name)
{
	char path[128];
	unsigned long long v = 0;
	FILE *f;

	snprintf(path, sizeof(path), KSM "%s", name);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%llu", &v) != 1)
			v = 0;
		fclose(f);
	}
	return v;
}

static void run_ksm(unsigned v)
{
	FILE *f = fopen(KSM "run", "w");

	if (!f || fprintf(f, "%u", v) < 0 || fclose(f))
		die("can't write " KSM "run");
}

bool ksm_available(void)
{
	return access(KSM "run", W_OK) == 0;
}

/* The schedstat file of the kernel thread ksmd: its first number is CPU time in ns. */
static FILE *ksmd_stat(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	FILE *found = NULL;

	while (d && !found && (e = readdir(d))) {
		char path[300], name[32] = "";
		FILE *f;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) && !strcmp(name, "ksmd\n")) {
			snprintf(path, sizeof(path), "/proc/%s/schedstat", e->d_name);
			found = fopen(path, "r");
		}
		fclose(f);
	}
	if (d)
		closedir(d);
	if (!found)
		die("there is no ksmd with a schedstat");
	setvbuf(found, NULL, _IONBF, 0);
	return found;
}

static double ksmd_cpu_s(FILE *f)
{
	unsigned long long ns = 0;

	rewind(f);
	if (fscanf(f, "%llu", &ns) != 1)
		die("can't read ksmd's CPU time");
	return (double)ns / 1e9;
}

static void map_images(struct images *im)
{
	size_t size = im->mix.pages * IMG_PAGE;

	for (unsigned g = 0; g < im->mix.guests; g++) {
		im->base[g] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);
		if (im->base[g] == MAP_FAILED)
			die("no memory for the images");
		madvise(im->base[g], size, MADV_NOHUGEPAGE);
	}
	images_fill(im);
}

/* What ksmd has done with this process: pages it knows, and pages that are merged or zero now. */
struct progress {
	uint64_t known, merged;
	double cpu_s; /* of ksmd, for whomever */
};

static struct progress progress(FILE *stat)
{
	FILE *f = fopen("/proc/self/ksm_stat", "r");
	struct progress p = {.cpu_s = ksmd_cpu_s(stat)};
	unsigned long long v;
	char line[128], name[64];

	if (!f)
		die("this kernel has no /proc/self/ksm_stat: Linux 6.1 or later is needed");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %llu", name, &v) != 2)
			continue;
		if (!strcmp(name, "ksm_rmap_items"))
			p.known = v;
		else if (!strcmp(name, "ksm_merging_pages") || !strcmp(name, "ksm_zero_pages"))
			p.merged += v;
	}
	fclose(f);
	return p;
}

/*
 * Watch ksmd until it has merged 98% of @goal pages or two scans in a row have merged nothing.
 * Returns its CPU time for the images: of the 4 ms intervals in which it got on with them. When it
 * works on other processes' memory, or scans in vain, that is not held against it.
 */
static double watch(FILE *stat, uint64_t goal)
{
	const struct timespec nap = {.tv_nsec = 4000000};
	struct progress was = progress(stat), now;
	uint64_t since = knob("full_scans");
	double cpu_s = 0;

	while (was.merged < goal * 98 / 100 && knob("full_scans") <= since + 2) {
		nanosleep(&nap, NULL);
		now = progress(stat);
		if (now.known != was.known || now.merged != was.merged)
			cpu_s += now.cpu_s - was.cpu_s;
		if (now.merged > was.merged || now.known > was.known)
			since = knob("full_scans");
		was = now;
	}
	return cpu_s;
}

static void *writer_main(void *arg)
{
	writer_loop(arg);
	return NULL;
}

void ksm_run(struct images *im, unsigned rate, struct ksm_result *out)
{
	size_t size = im->mix.pages * IMG_PAGE;
	FILE *stat = ksmd_stat();
	struct image_frames fr;
	pthread_t thread;
	double own;

	memset(out, 0, sizeof(*out));
	run_ksm(2); /* forget what was merged before */
	map_images(im);
	out->writer = (struct writer){.im = im, .rate = rate};
	if (pthread_create(&thread, NULL, writer_main, &out->writer))
		die("can't start the writer");
	own = cpu_thread_s();
	for (unsigned g = 0; g < im->mix.guests; g++)
		if (madvise(im->base[g], size, MADV_MERGEABLE))
			die("madvise(MADV_MERGEABLE) is refused");
	own = cpu_thread_s() - own;
	out->full_scans = knob("full_scans");
	out->scanned = knob("pages_scanned");
	run_ksm(1);
	out->cpu_s = own + watch(stat, images_equal(im));
	run_ksm(0); /* stays merged */
	out->full_scans = knob("full_scans") - out->full_scans;
	out->scanned = knob("pages_scanned") - out->scanned;
	atomic_store(&out->writer.stop, true);
	pthread_join(thread, NULL);
	if (!images_frames(im, &fr))
		die("frame numbers are hidden: run as root");
	out->merged = fr.pages - fr.frames;
	out->wrong = images_wrong(im) + out->writer.wrong;
	for (unsigned g = 0; g < im->mix.guests; g++)
		munmap(im->base[g], size);
	fclose(stat);
}
