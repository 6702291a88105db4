/* The public face of allocation: which of the two ways memory takes, and back. */
#include "internal.h"

#include <errno.h>
#include <string.h>

static void *allocate(size_t size, unsigned hint)
{
	void *memory;

	if (size <= LARGEST_SMALL)
		memory = cache_alloc(hint, class_of(size));
	else if (size <= LARGEST_RUN)
		memory = arena_run(size, hint);
	else
		memory = mapping_alloc(size, hint);
	if (!memory) {
		say("no memory for %zu bytes", size);
		errno = ENOMEM;
	}
	return memory;
}

static bool is_mapping(const void *memory)
{
	return ((uintptr_t)memory & (CHUNK - 1)) == 0;
}

void *tierwise_alloc(size_t size, unsigned flags)
{
	if (flags >= FLAGS) {
		say("unknown flags: use LAT, BW, CAP and SHL");
		errno = EINVAL;
		return NULL;
	}
	return allocate(size, flags);
}

void *tierwise_alloc_on(size_t size, const char *tier)
{
	int hint = hint_of_tier(tier);

	return hint < 0 ? NULL : allocate(size, (unsigned)hint);
}

void tierwise_free(void *memory)
{
	if (!memory)
		return;
	if (is_mapping(memory)) {
		mapping_free(memory);
		return;
	}
	struct small small = arena_look(memory);
	if (small.class == NOT_SMALL)
		arena_free_run(memory);
	else
		cache_free(memory, small.hint, small.class);
}

size_t tierwise_size(const void *memory)
{
	if (!memory)
		return 0;
	return is_mapping(memory) ? mapping_size(memory, NULL) : arena_look(memory).size;
}

int tierwise_hint(const void *memory)
{
	int status = region_status(memory);

	if (status >= 0)
		return status;
	if (memory && !is_mapping(memory))
		return arena_look(memory).status;
	if (memory && mapping_size(memory, &status) > 0)
		return status;
	say("not memory of this library");
	errno = EINVAL;
	return -1;
}

void *tierwise_grow(void *memory, size_t size)
{
	if (!memory)
		return allocate(size, 0);
	size_t before = tierwise_size(memory);
	if (size <= before)
		return memory;
	if (is_mapping(memory))
		return mapping_grow(memory, size);
	void *larger = allocate(size, arena_look(memory).hint);
	if (larger) {
		memcpy(larger, memory, before);
		tierwise_free(memory);
	}
	return larger;
}
