/* SPDX-License-Identifier: MIT */
/*
 * Memory images of several guests, made from a seed: which pages are equal, what is in them, and a
 * writer that changes pages and checks them while somebody else merges them. What is in a page
 * at any time follows from its content number and the number of writes to it, so every byte can be
 * checked afterwards.
 */
#ifndef SHARE_BENCH_IMAGES_H
#define SHARE_BENCH_IMAGES_H

#include <stdbool.h>
#include <stdint.h>

#define IMG_PAGE 4096UL
#define IMG_WORDS (IMG_PAGE / sizeof(uint64_t))
#define IMG_MAX 16

struct image_mix {
	unsigned guests;
	uint64_t pages; /* of each */
	unsigned equal; /* percent of the pages that are equal in all guests, zero pages included */
	unsigned zero;	/* percent of the pages that are zero */
	unsigned run;	/* pages that are of one kind at a stretch, at least */
	bool scatter;	/* equal pages are at different places in each guest */
	uint64_t seed;
};

struct images {
	struct image_mix mix;
	uint64_t *content[IMG_MAX]; /* of each page; 0: zeroes */
	uint32_t *writes[IMG_MAX];  /* to each page so far */
	uint8_t *base[IMG_MAX];	    /* where the guest's memory is */
};

/** images_make() - decide what is where; nothing is mapped yet. */
void images_make(struct images *im, const struct image_mix *mix);
void images_free(struct images *im);

/** images_best() - pages that can be saved when each content is kept once. */
uint64_t images_best(const struct images *im);
/** images_equal() - pages that have an equal, or are zero. */
uint64_t images_equal(const struct images *im);

/** images_fill() - write all pages through base[]; forgets the writes of an earlier use. */
void images_fill(struct images *im);

/** images_wrong() - pages whose bytes are not what they must be. Nobody writes meanwhile. */
uint64_t images_wrong(const struct images *im);

struct image_frames {
	uint64_t pages, frames; /* mapped pages, and distinct physical frames behind them */
	uint64_t absent;	/* pages that nothing is mapped for */
};

/** images_frames() - what the kernel's page tables say, by /proc/self/pagemap. False: not
 * allowed to see frame numbers. */
bool images_frames(const struct images *im, struct image_frames *out);

struct writer {
	struct images *im;
	unsigned rate; /* writes per second; as many checks of whole pages */
	_Atomic bool stop;
	uint64_t writes, checks, wrong;
	double cpu_s; /* of its thread */
};

/** writer_loop() - write and check pages until told to stop: nine of ten times of a small hot set,
 * else anywhere. */
void writer_loop(struct writer *w);

/** cpu_process_s(), cpu_thread_s() - CPU time used so far, user and system. */
double cpu_process_s(void);
double cpu_thread_s(void);
/** die() - message to stderr, exit status 1. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
