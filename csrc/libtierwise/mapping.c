/* Memory straight from the kernel, for what is too large for an arena. Each mapping begins at a multiple of CHUNK, so
 * that its address alone tells it from small memory; the space in between costs nothing but addresses. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUCKETS = 1024 };

struct mapping {
	char *start;
	size_t size, mapped;
	unsigned hint;
	int status;
	struct mapping *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mapping *buckets[BUCKETS];

static size_t whole_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) & -page;
}

void *map_aligned(size_t size)
{
	if (size > PTRDIFF_MAX - CHUNK) {
		errno = ENOMEM;
		return NULL;
	}
	char *start = mmap(NULL, size + CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	char *aligned = (char *)(((uintptr_t)start + CHUNK - 1) & -(uintptr_t)CHUNK);
	if (aligned > start)
		munmap(start, (size_t)(aligned - start));
	munmap(aligned + size, (size_t)(start + CHUNK - aligned));
	return aligned;
}

static struct mapping **slot(const void *start)
{
	struct mapping **at = &buckets[(uintptr_t)start / CHUNK % BUCKETS];

	while (*at && (*at)->start != start)
		at = &(*at)->next;
	return at;
}

static void enter(struct mapping *mapping)
{
	pthread_mutex_lock(&lock);
	*slot(mapping->start) = mapping;
	pthread_mutex_unlock(&lock);
}

static struct mapping *leave(const void *start)
{
	pthread_mutex_lock(&lock);
	struct mapping **at = slot(start), *mapping = *at;
	if (mapping)
		*at = mapping->next;
	pthread_mutex_unlock(&lock);
	if (mapping)
		mapping->next = NULL;
	return mapping;
}

void *mapping_alloc(size_t size, unsigned hint)
{
	struct mapping *mapping = calloc(1, sizeof *mapping);

	if (!mapping || size > PTRDIFF_MAX / 2) {
		free(mapping);
		errno = ENOMEM;
		return NULL;
	}
	*mapping = (struct mapping){.size = size, .mapped = whole_pages(size), .hint = hint};
	mapping->start = map_aligned(mapping->mapped);
	if (!mapping->start) {
		free(mapping);
		errno = ENOMEM;
		return NULL;
	}
	mapping->status = place(mapping->start, mapping->mapped, hint, false);
	char *start = mapping->start;
	enter(mapping);
	return start;
}

void mapping_free(void *memory)
{
	struct mapping *mapping = leave(memory);

	if (!mapping)
		abort(); /* freed twice, or not ours: like free(3) */
	session_free(mapping->start, mapping->mapped); /* first: another thread may be given the same addresses */
	munmap(mapping->start, mapping->mapped);
	free(mapping);
}

/* Put the pages at `start`, where as many addresses are ours: with their policies where the kernel moves them (one
 * policy only), else as a copy. */
static void move_to(struct mapping *mapping, char *start)
{
	session_move(mapping->start, start, mapping->mapped);
	if (mremap(mapping->start, mapping->mapped, mapping->mapped, MREMAP_MAYMOVE | MREMAP_FIXED, start) != MAP_FAILED)
		return;
	session_move(start, mapping->start, mapping->mapped);
	int status = place(start, mapping->mapped, mapping->hint, false);
	memcpy(start, mapping->start, mapping->mapped);
	session_free(mapping->start, mapping->mapped);
	munmap(mapping->start, mapping->mapped);
	mapping->status = status;
}

/* More addresses behind the mapping, or all of it elsewhere. */
static bool extend(struct mapping *mapping, size_t mapped)
{
	char *end = mapping->start + mapping->mapped;
	int same = MAP_PRIVATE | MAP_ANONYMOUS;
	void *more = mmap(end, mapped - mapping->mapped, PROT_READ | PROT_WRITE, same | MAP_FIXED_NOREPLACE, -1, 0);

	if (more == end)
		return true;
	if (more != MAP_FAILED)
		munmap(more, mapped - mapping->mapped); /* before Linux 4.17 the flag is a hint */
	char *start = map_aligned(mapped);
	if (!start)
		return false;
	move_to(mapping, start);
	mapping->start = start;
	return true;
}

void *mapping_grow(void *memory, size_t size)
{
	struct mapping *mapping = leave(memory);

	if (!mapping)
		abort();
	size_t mapped = size > PTRDIFF_MAX / 2 ? 0 : whole_pages(size), before = mapping->mapped;
	bool fits = mapped != 0 && (mapped <= before || extend(mapping, mapped));
	if (fits && mapped > before) {
		int more = place(mapping->start + before, mapped - before, mapping->hint, false);

		mapping->status = more > mapping->status ? more : mapping->status;
		mapping->mapped = mapped;
	}
	if (fits)
		mapping->size = size;
	else
		errno = ENOMEM;
	char *start = mapping->start;
	enter(mapping);
	return fits ? start : NULL;
}

size_t mapping_size(const void *memory, int *status)
{
	size_t size = 0;

	pthread_mutex_lock(&lock);
	const struct mapping *mapping = *slot(memory);
	if (mapping) {
		size = mapping->size;
		if (status)
			*status = mapping->status;
	}
	pthread_mutex_unlock(&lock);
	return size;
}

void mapping_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

void mapping_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}
