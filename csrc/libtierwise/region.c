/* Named regions: files of the agent's that live in memory, received as descriptors and mapped here. The descriptor
 * stays open while the region is held: the kernel counts it, whatever becomes of this process. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAME = 65 };

struct region {
	char *start;
	size_t size;
	int descriptor, status;
	char name[NAME];
	struct region *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *regions;

static bool is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	size_t length = name ? strnlen(name, NAME) : 0;

	if (length > 0 && length < NAME && strspn(name, allowed) == length && !strchr(".-_", name[0]))
		return true;
	say("not a name for a region: letters, digits, '.', '_' and '-', at most %d, beginning with a letter or a digit",
	    NAME - 1);
	errno = EINVAL;
	return false;
}

static struct region **find(const void *start)
{
	struct region **at = &regions;

	while (*at && (*at)->start != start)
		at = &(*at)->next;
	return at;
}

static struct region *leave(const void *start)
{
	pthread_mutex_lock(&lock);
	struct region **at = find(start), *region = *at;
	if (region)
		*at = region->next;
	pthread_mutex_unlock(&lock);
	if (!region) {
		say("no region is mapped there");
		errno = EINVAL;
	}
	return region;
}

static void enter(struct region *region)
{
	pthread_mutex_lock(&lock);
	region->next = regions;
	regions = region;
	pthread_mutex_unlock(&lock);
}

/* Map what the answer brought; its policy belongs to the file, so one process sets it for all. */
static bool map(struct region *region, const struct region_answer *answer)
{
	char *start = mmap(NULL, answer->size, PROT_READ | PROT_WRITE, MAP_SHARED, answer->descriptor, 0);

	if (start == MAP_FAILED) {
		int error = errno;

		say("could not map region %s: %s", region->name, strerror(error));
		close(answer->descriptor);
		errno = error;
		return false;
	}
	region->start = start;
	region->size = answer->size;
	region->descriptor = answer->descriptor;
	region->status = answer->status;
	bool granted = answer->status == TIERWISE_TAKEN || answer->status == TIERWISE_PARTLY;
	if (granted && !place_as(start, answer->size, &answer->grant, true)) {
		say("the kernel would not set the memory policy: %s", strerror(errno));
		region->status = TIERWISE_IMPOSSIBLE;
	}
	return true;
}

static void *open_region(const char *name, size_t size, unsigned hint, unsigned options)
{
	struct region_answer answer;

	if (!is_name(name))
		return NULL;
	if (options & ~(TIERWISE_CREATE | TIERWISE_EXCL | TIERWISE_RETAIN) || size > PTRDIFF_MAX) {
		say("unknown options, or a size that no region has");
		errno = EINVAL;
		return NULL;
	}
	struct region *region = calloc(1, sizeof *region);
	if (!region)
		return NULL;
	strcpy(region->name, name);
	if (session_region_open(name, size, hint, options, &answer) != 0 || !map(region, &answer)) {
		int error = errno;

		free(region);
		errno = error;
		return NULL;
	}
	char *start = region->start;
	enter(region);
	return start;
}

void *tierwise_region_open(const char *name, size_t size, unsigned flags, unsigned options)
{
	if (flags < FLAGS)
		return open_region(name, size, flags, options);
	say("unknown flags: use LAT, BW, CAP and SHL");
	errno = EINVAL;
	return NULL;
}

void *tierwise_region_open_on(const char *name, size_t size, const char *tier, unsigned options)
{
	int hint = hint_of_tier(tier);

	return hint < 0 ? NULL : open_region(name, size, (unsigned)hint, options);
}

size_t tierwise_region_size(const void *start)
{
	pthread_mutex_lock(&lock);
	const struct region *region = *find(start);
	size_t size = region ? region->size : 0;
	pthread_mutex_unlock(&lock);
	return size;
}

int region_status(const void *memory)
{
	pthread_mutex_lock(&lock);
	const struct region *region = *find(memory);
	int status = region ? region->status : -1;
	pthread_mutex_unlock(&lock);
	return status;
}

static void unmap(const struct region *region)
{
	munmap(region->start, region->size);
	close(region->descriptor);
}

void *tierwise_region_grow(void *start, size_t size)
{
	struct region *region = leave(start), before;
	struct region_answer answer;

	if (!region)
		return NULL;
	before = *region;
	bool grown = session_region_grow(region->name, size, &answer) == 0 && map(region, &answer);
	int error = errno;
	if (grown)
		unmap(&before);
	char *now = region->start;
	enter(region);
	errno = error;
	return grown ? now : NULL;
}

int tierwise_region_close(void *start)
{
	struct region *region = leave(start);

	if (!region)
		return -1;
	unmap(region);
	session_region_close(region->name); /* the kernel has told already who looks; this makes the agent look now */
	free(region);
	return 0;
}

int tierwise_region_drop(const char *name)
{
	return is_name(name) ? session_region_drop(name) : -1;
}

void region_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

void region_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}
