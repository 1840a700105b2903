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
#define SAMPLES 100000
#define MAX(a, b) ((a) > (b) ? (a) : (b))

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

/* Pages of ours that are mapped to a merged frame or the zero page now. */
static uint64_t merged_now(void)
{
	FILE *f = fopen("/proc/self/ksm_stat", "r");
	unsigned long long v, sum = 0;
	char name[64];

	if (!f)
		die("this kernel has no /proc/self/ksm_stat: Linux 6.1 or later is needed");
	while (fscanf(f, "%63s %llu", name, &v) == 2)
		if (!strcmp(name, "ksm_merging_pages") || !strcmp(name, "ksm_zero_pages"))
			sum += v;
	fclose(f);
	return sum;
}

struct sample {
	uint64_t merged;
	double cpu_s;
};

/*
 * Watch ksmd until it has merged 98% of @goal or two scans in a row have merged nothing, and return
 * how far it was when it had merged most per CPU second, of the times from 95% of its final state
 * on: its last scans in vain are not held against it.
 */
static struct sample watch(FILE *stat, double start, uint64_t goal)
{
	static struct sample all[SAMPLES];
	const struct timespec nap = {.tv_nsec = 2000000};
	uint64_t most = 0, since = knob("full_scans");
	struct sample best = {0};
	unsigned n = 0;

	while (n < SAMPLES && most < goal * 98 / 100 && knob("full_scans") <= since + 2) {
		struct sample *s = &all[n++];

		nanosleep(&nap, NULL);
		*s = (struct sample){merged_now(), ksmd_cpu_s(stat) - start};
		if (s->merged > most) {
			most = s->merged;
			since = knob("full_scans");
		}
	}
	for (unsigned i = 0; i < n; i++)
		if (all[i].merged >= most * 95 / 100 &&
		    (double)all[i].merged * best.cpu_s >= (double)best.merged * all[i].cpu_s)
			best = all[i];
	return best;
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
	struct sample best;
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
	run_ksm(1);
	best = watch(stat, ksmd_cpu_s(stat), images_equal(im));
	run_ksm(0); /* stays merged */
	out->full_scans = knob("full_scans") - out->full_scans;
	atomic_store(&out->writer.stop, true);
	pthread_join(thread, NULL);
	if (!images_frames(im, &fr))
		die("frame numbers are hidden: run as root");
	/* The kernel counts all pages of an equal set; one frame of each set is not saved. */
	out->saved_frames = fr.pages - fr.frames;
	out->merged = best.merged * out->saved_frames / MAX(merged_now(), 1);
	out->cpu_s = best.cpu_s + own;
	out->wrong = images_wrong(im) + out->writer.wrong;
	for (unsigned g = 0; g < im->mix.guests; g++)
		munmap(im->base[g], size);
	fclose(stat);
}
