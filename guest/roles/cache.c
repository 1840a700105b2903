/* SPDX-License-Identifier: MIT */
/*
 * A file server whose speed depends on memory: it reads and writes random
 * pages of `files` MiB of files (four of five accesses go to a fifth of them)
 * through a cache of all the memory that it has, and every miss waits
 * `disk_us`, as every write-back of a changed page does. Its balloon takes from
 * the cache, the least recently used pages first.
 *
 * `wait` is the number of pages that must be in the balloon before it starts.
 * It fills the cache by `warm` accesses for each page of the files, then counts
 * for `secs`.
 */
#include "roles/roles.h"
#include "rt/balloon.h"
#include "rt/event.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"

#define WORDS (PAGE_SIZE / 8)
#define LOOKS 16 /* words of a page that one access verifies */
#define WRITE_PERCENT 25
#define KEEP (2 * BALLOON_RESERVE)
#define NS 1000000000ULL

struct slot {
	uint64_t *va;
	uint32_t file; /* page of the files */
	bool used, dirty;
};

static struct {
	unsigned long files, n, hand;
	struct slot *slot;	   /* n of them */
	uint32_t *where, *version; /* per page of the files: slot + 1; how often written */
	uint64_t disk_ns;
	unsigned long ops, misses, writebacks;
} cache;

static void *table(unsigned long entries, unsigned long size)
{
	return pages_alloc((entries * size + PAGE_SIZE - 1) / PAGE_SIZE);
}

static uint64_t word(uint32_t file, unsigned int w)
{
	return mix64((uint64_t)file << 32 | cache.version[file]) + w * 0x9e3779b97f4a7c15ULL;
}

static void fill(struct slot *s)
{
	for (unsigned int w = 0; w < WORDS; w++)
		s->va[w] = word(s->file, w);
}

static void disk(void)
{
	sleep_until(time_ns() + cache.disk_ns);
}

/* The slot that was not used for the longest time, roughly; its page is no longer cached. */
static unsigned long evict(void)
{
	struct slot *s;

	for (;; cache.hand++) {
		if (cache.hand >= cache.n)
			cache.hand = 0;
		s = &cache.slot[cache.hand];
		if (!s->used)
			break;
		s->used = false;
	}
	if (s->dirty) {
		cache.writebacks++;
		disk();
	}
	cache.where[s->file] = 0;
	return cache.hand++;
}

static void drop(unsigned long i)
{
	page_free(cache.slot[i].va);
	cache.slot[i] = cache.slot[--cache.n];
	if (i < cache.n)
		cache.where[cache.slot[i].file] = (uint32_t)i + 1;
}

static struct slot *read_in(uint32_t file)
{
	unsigned long i = cache.n;
	struct slot *s;

	cache.misses++;
	disk();
	if (cache.n < cache.files && !balloon_deficit() &&
	    (cache.slot[cache.n].va = page_try_alloc(KEEP)))
		cache.n++;
	else
		i = evict();
	s = &cache.slot[i];
	s->file = file;
	s->dirty = false;
	fill(s);
	cache.where[file] = (uint32_t)i + 1;
	return s;
}

static void access(void)
{
	uint64_t r = rnd();
	uint32_t file = (uint32_t)((r >> 16) % cache.files);
	struct slot *s;

	if (r % 5)
		file /= 5;
	s = cache.where[file] ? &cache.slot[cache.where[file] - 1] : read_in(file);
	s->used = true;
	for (unsigned int k = 0; k < LOOKS; k++) {
		unsigned int w = (unsigned int)(mix64(r + k) % WORDS);

		if (s->va[w] != word(file, w))
			role_fail("file page %u at %p word %u: expected %lx, got %lx", file,
				  (void *)s->va, w, word(file, w), s->va[w]);
	}
	if ((r >> 8) % 100 < WRITE_PERCENT) {
		cache.version[file]++;
		fill(s);
		s->dirty = true;
	}
	cache.ops++;
}

static void follow(void)
{
	unsigned long need = balloon_deficit();

	if (!need)
		return;
	while (need-- && cache.n > 1)
		drop(evict());
	balloon_adjust();
}

static uint64_t run(uint64_t until_ns, unsigned long accesses)
{
	uint64_t start = time_ns();

	cache.ops = cache.misses = cache.writebacks = 0;
	while (time_ns() < until_ns && cache.ops < accesses) {
		access();
		follow();
	}
	return time_ns() - start;
}

void role_cache(void)
{
	unsigned long wait = arg_num("wait", 0);
	uint64_t took, secs = arg_num("secs", 5), seed = rnd_init();

	cache.files = arg_num("files", 4) * 256;
	cache.disk_ns = arg_num("disk_us", 2000) * 1000;
	CHECK(cache.files, "files= is 0");
	cache.slot = table(cache.files, sizeof(*cache.slot));
	cache.where = table(cache.files, sizeof(uint32_t));
	cache.version = table(cache.files, sizeof(uint32_t));
	printf("mini: cache ready t_ms=%lu\n", time_ns() / 1000000);
	while (balloon_pages() < wait)
		sleep_until(time_ns() + NS / 100);
	run(~0ULL, arg_num("warm", 8) * cache.files);
	took = run(time_ns() + secs * NS, ~0UL);
	role_pass("seed=%lu ops=%lu misses=%lu writebacks=%lu elapsed_ns=%lu ops_per_s=%lu "
		  "cached_pages=%lu ballooned_pages=%lu",
		  seed, cache.ops, cache.misses, cache.writebacks, took,
		  cache.ops * 1000 / (took / 1000000), cache.n, balloon_pages());
}
