/* SPDX-License-Identifier: MIT */
/* What is in the pages; see images.h. */
#include "stress/share_bench/images.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("share_bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static double clock_s(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double cpu_process_s(void)
{
	return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

double cpu_thread_s(void)
{
	return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

/* splitmix64's output function */
static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static inline uint64_t word_of(uint64_t content, uint64_t i)
{
	return content ? mix(content * IMG_WORDS + i) : 0;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void *table(uint64_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("out of memory");
	return p;
}

/* Put the blocks of @run pages of one guest into another order. */
static void shuffle(uint64_t *content, uint64_t pages, unsigned run, uint64_t seed)
{
	for (uint64_t i = pages / run - 1; i > 0; i--) {
		uint64_t j = mix(seed + i) % (i + 1);

		for (unsigned k = 0; k < run; k++) {
			uint64_t t = content[i * run + k];

			content[i * run + k] = content[j * run + k];
			content[j * run + k] = t;
		}
	}
}

void images_make(struct images *im, const struct image_mix *m)
{
	memset(im, 0, sizeof(*im));
	im->mix = *m;
	for (unsigned g = 0; g < m->guests; g++) {
		im->content[g] = table(m->pages, sizeof(uint64_t));
		im->writes[g] = table(m->pages, sizeof(uint32_t));
		for (uint64_t i = 0; i < m->pages; i++) {
			unsigned dice = mix(mix(m->seed) + i / m->run) % 100;
			uint64_t id = mix(m->seed + i) << 8;

			if (dice < m->zero)
				id = 0;
			else if (dice >= m->equal)
				id |= g + 1;
			im->content[g][i] = id;
		}
		if (m->scatter && g)
			shuffle(im->content[g], m->pages, m->run, mix(m->seed + g));
	}
}

void images_free(struct images *im)
{
	for (unsigned g = 0; g < im->mix.guests; g++) {
		free(im->content[g]);
		free(im->writes[g]);
	}
}

static uint64_t equal_in_each(const struct images *im, bool zero)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < im->mix.pages; i++) {
		uint64_t id = im->content[0][i];

		n += zero ? !id : id && !(id & 0xff);
	}
	return n;
}

uint64_t images_best(const struct images *im)
{
	uint64_t zero = equal_in_each(im, true) * im->mix.guests;

	return equal_in_each(im, false) * (im->mix.guests - 1) + (zero ? zero - 1 : 0);
}

uint64_t images_equal(const struct images *im)
{
	return (equal_in_each(im, false) + equal_in_each(im, true)) * im->mix.guests;
}

void images_fill(struct images *im)
{
	for (unsigned g = 0; g < im->mix.guests; g++) {
		memset(im->writes[g], 0, im->mix.pages * sizeof(uint32_t));
		for (uint64_t i = 0; i < im->mix.pages; i++) {
			uint64_t *p = (uint64_t *)(im->base[g] + i * IMG_PAGE);

			for (unsigned k = 0; k < IMG_WORDS; k++)
				p[k] = word_of(im->content[g][i], k);
		}
	}
}

/* ---- writing and checking -------------------------------------------------------------------- */

/* The n-th write to a page (from 1 on) puts this value into this word. */
static inline unsigned write_where(uint32_t n)
{
	return n * 37 % IMG_WORDS;
}

static inline uint64_t write_what(unsigned g, uint64_t i, uint32_t n)
{
	return mix(i << 40 ^ (uint64_t)n << 8 ^ (g + 1)) | 1;
}

static bool page_right(const struct images *im, unsigned g, uint64_t i)
{
	const uint64_t *p = (const uint64_t *)(im->base[g] + i * IMG_PAGE);
	uint32_t n = im->writes[g][i], from = n > IMG_WORDS ? n - IMG_WORDS : 0;
	uint64_t want[IMG_WORDS];

	for (unsigned k = 0; k < IMG_WORDS; k++)
		want[k] = word_of(im->content[g][i], k);
	while (from++ < n)
		want[write_where(from)] = write_what(g, i, from);
	return !memcmp(p, want, IMG_PAGE);
}

uint64_t images_wrong(const struct images *im)
{
	uint64_t wrong = 0;

	for (unsigned g = 0; g < im->mix.guests; g++)
		for (uint64_t i = 0; i < im->mix.pages; i++)
			wrong += !page_right(im, g, i);
	return wrong;
}

#define HOT_PAGES 512

static void writer_step(struct writer *w, uint64_t dice)
{
	struct images *im = w->im;
	unsigned g = dice % im->mix.guests;
	uint64_t i = (dice >> 8) % im->mix.pages;
	_Atomic uint64_t *p;
	uint32_t n;

	if ((dice >> 4) % 10)
		i = i % HOT_PAGES * (im->mix.pages / HOT_PAGES);
	n = ++im->writes[g][i];
	p = (_Atomic uint64_t *)(im->base[g] + i * IMG_PAGE);
	atomic_store_explicit(&p[write_where(n)], write_what(g, i, n), memory_order_relaxed);
	w->writes++;
	w->wrong += !page_right(im, g, i);
	/* And one that is only read. */
	g = (dice >> 32) % im->mix.guests;
	w->wrong += !page_right(im, g, (dice >> 40) % im->mix.pages);
	w->checks += 2;
}

void writer_loop(struct writer *w)
{
	uint64_t dice = w->im->mix.seed;
	const struct timespec nap = {.tv_nsec = 2000000};
	double before = cpu_thread_s(), start = clock_s(CLOCK_MONOTONIC);

	while (!atomic_load(&w->stop)) {
		double due = (clock_s(CLOCK_MONOTONIC) - start) * w->rate;

		while ((double)w->writes < due && !atomic_load(&w->stop))
			writer_step(w, dice = mix(dice));
		nanosleep(&nap, NULL);
	}
	w->cpu_s = cpu_thread_s() - before;
}

/* ---- what the kernel says -------------------------------------------------------------------- */

#define PM_PRESENT (1ULL << 63)
#define PM_PFN ((1ULL << 55) - 1)

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

bool images_frames(const struct images *im, struct image_frames *out)
{
	uint64_t n = 0, *pfn = table(im->mix.guests * im->mix.pages, sizeof(*pfn));
	int fd = open("/proc/self/pagemap", O_RDONLY);

	memset(out, 0, sizeof(*out));
	for (unsigned g = 0; g < im->mix.guests; g++) {
		size_t size = im->mix.pages * sizeof(*pfn);
		off_t at = (off_t)((uintptr_t)im->base[g] / IMG_PAGE * sizeof(*pfn));

		if (pread(fd, pfn + n, size, at) != (ssize_t)size)
			die("can't read /proc/self/pagemap");
		n += im->mix.pages;
	}
	close(fd);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t e = pfn[i];

		out->absent += !(e & PM_PRESENT);
		if (e & PM_PRESENT && e & PM_PFN)
			pfn[out->pages++] = e & PM_PFN;
	}
	qsort(pfn, out->pages, sizeof(*pfn), by_value);
	for (uint64_t i = 0; i < out->pages; i++)
		out->frames += !i || pfn[i] != pfn[i - 1];
	free(pfn);
	return out->pages + out->absent == n;
}
