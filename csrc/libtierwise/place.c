/* Memory policies of ranges: what a grant says, in the kernel's words (mbind(2)). */
#define _GNU_SOURCE
#include "internal.h"
#include "mempolicy.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool bind(void *start, size_t size, int mode, uint64_t nodes, bool move)
{
	unsigned long mask[MAX_NODES / (8 * sizeof(unsigned long)) + 1] = {0};

	memcpy(mask, &nodes, sizeof nodes);
	return syscall(SYS_mbind, start, size, mode | STATIC_NODES, mask, (unsigned long)MAX_NODES + 1, move ? MOVE : 0) == 0;
}

static bool prefer(void *start, size_t size, uint64_t nodes, bool balanced, bool move)
{
	if (balanced && bind(start, size, PREFERRED_MANY | NUMA_BALANCING, nodes, move))
		return true;
	if (bind(start, size, PREFERRED_MANY, nodes, move))
		return true;
	return is_unknown_policy() && bind(start, size, PREFERRED, nodes & -nodes, move);
}

static bool interleave(void *start, size_t size, const struct grant *grant, bool move)
{
	uint64_t nodes = 0;

	for (unsigned i = 0; i < grant->count; i++)
		nodes |= grant->parts[i].nodes;
	return bind(start, size, WEIGHTED_INTERLEAVE, nodes, move) ||
	       (is_unknown_policy() && bind(start, size, INTERLEAVE, nodes, move));
}

bool place_as(void *start, size_t size, const struct grant *grant, bool move)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *at = start;

	if (grant->spread)
		return grant->count == 0 || interleave(start, size, grant, move);
	for (unsigned i = 0; i < grant->count && size > 0; i++) {
		size_t part = (grant->parts[i].size + page - 1) & -page;

		if (part > size || i + 1 == grant->count)
			part = size;
		if (part && !prefer(at, part, grant->parts[i].nodes, grant->balanced, move))
			return false;
		at += part;
		size -= part;
	}
	return true;
}

int place(void *start, size_t size, unsigned hint, bool move)
{
	struct grant grant;

	if (hint == 0)
		return TIERWISE_NO_HINT;
	int status = session_alloc(start, size, hint, &grant);
	if (status != TIERWISE_TAKEN && status != TIERWISE_PARTLY)
		return status;
	if (!place_as(start, size, &grant, move)) {
		say("the kernel would not set the memory policy: %s", strerror(errno));
		session_free(start, size);
		return TIERWISE_IMPOSSIBLE;
	}
	return status;
}
