/* Where memory is, and advice for memory that is already there. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { AT_ONCE = 1024 };

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static int advise(void *start, size_t size, unsigned hint)
{
	uintptr_t page = page_size(), first = ((uintptr_t)start + page - 1) & -page, end = ((uintptr_t)start + size) & -page;

	if (first >= end || end < first) {
		say("no whole page lies in %zu bytes at %p", size, start);
		errno = EINVAL;
		return -1;
	}
	return place((void *)first, end - first, hint, true);
}

int tierwise_advise(void *start, size_t size, unsigned flags)
{
	if (flags > 0 && flags < FLAGS)
		return advise(start, size, flags);
	say("advice needs LAT, BW, CAP or SHL");
	errno = EINVAL;
	return -1;
}

int tierwise_advise_on(void *start, size_t size, const char *tier)
{
	int hint = hint_of_tier(tier);

	return hint < 0 ? -1 : advise(start, size, (unsigned)hint);
}

/* Bytes by node, the last for what was never touched. */
static int count(uintptr_t start, uintptr_t end, size_t bytes[MAX_NODES + 1])
{
	size_t page = page_size();
	void *pages[AT_ONCE];
	int nodes[AT_ONCE];

	for (uintptr_t at = start & -page; at < end;) {
		unsigned n = 0;

		for (; n < AT_ONCE && at < end; at += page)
			pages[n++] = (void *)at;
		for (unsigned i = 0; i < n; i++)
			nodes[i] = -ENOENT; /* the kernel may write fewer than it says */
		if (syscall(SYS_move_pages, 0, (unsigned long)n, pages, NULL, nodes, 0) < 0)
			return -1;
		for (unsigned i = 0; i < n; i++)
			bytes[nodes[i] >= 0 && nodes[i] < MAX_NODES ? nodes[i] : MAX_NODES] += page;
	}
	return 0;
}

static size_t take(size_t bytes[MAX_NODES + 1], uint64_t nodes)
{
	size_t sum = 0;

	for (unsigned node = 0; node < MAX_NODES; node++) {
		if (nodes >> node & 1) {
			sum += bytes[node];
			bytes[node] = 0;
		}
	}
	return sum;
}

struct shares {
	struct tierwise_share *items;
	int count, room;
};

static void add(struct shares *shares, const char name[TIER_NAME], size_t bytes)
{
	if (bytes == 0)
		return;
	if (shares->count < shares->room) {
		memcpy(shares->items[shares->count].tier, name, TIER_NAME);
		shares->items[shares->count].bytes = bytes;
	}
	shares->count++;
}

int tierwise_where(const void *start, size_t size, struct tierwise_share *items, int room)
{
	struct shares shares = {items, 0, room};
	size_t bytes[MAX_NODES + 1] = {0};
	struct tier tiers[MAX_TIERS];
	char name[TIER_NAME] = "";

	if (count((uintptr_t)start, (uintptr_t)start + size, bytes) != 0) {
		say("the kernel does not say where pages are: %s", strerror(errno));
		return -1;
	}
	unsigned known = session_tiers(tiers);
	for (unsigned i = 0; i < known; i++)
		add(&shares, tiers[i].name, take(bytes, tiers[i].nodes));
	for (unsigned node = 0; node < MAX_NODES; node++) {
		snprintf(name, sizeof name, "node%u", node);
		add(&shares, name, bytes[node]);
	}
	add(&shares, (const char[TIER_NAME]){""}, bytes[MAX_NODES]);
	return shares.count;
}
