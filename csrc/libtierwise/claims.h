/* The ranges that the agent granted to this process, in the order of their addresses; without gaps between cuts. */
#ifndef TIERWISE_CLAIMS_H
#define TIERWISE_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct claim {
	uintptr_t start, end;
	unsigned hint;
};

struct claims {
	struct claim *items;
	size_t count, room;
};

/* Add a range that is in none. Without memory for it, it is forgotten: then only a restarted agent won't know. */
void claims_add(struct claims *claims, uintptr_t start, size_t size, unsigned hint);

/* Take a range out of those that it lies in. Whether there was any. */
bool claims_cut(struct claims *claims, uintptr_t start, size_t size);

/* A range of one claim that lies elsewhere now. Whether it was one. */
bool claims_move(struct claims *claims, uintptr_t from, uintptr_t to, size_t size);

#endif
