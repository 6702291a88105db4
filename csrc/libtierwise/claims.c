#include "claims.h"

#include <stdlib.h>
#include <string.h>

/* The first claim that ends behind `address`. */
static size_t first_behind(const struct claims *claims, uintptr_t address)
{
	size_t low = 0, high = claims->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (claims->items[middle].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool insert(struct claims *claims, size_t at, struct claim claim)
{
	if (claims->count == claims->room) {
		size_t room = claims->room ? 2 * claims->room : 64;
		struct claim *items = realloc(claims->items, room * sizeof *items);

		if (!items)
			return false;
		claims->items = items;
		claims->room = room;
	}
	memmove(claims->items + at + 1, claims->items + at, (claims->count - at) * sizeof claim);
	claims->items[at] = claim;
	claims->count++;
	return true;
}

static void delete(struct claims *claims, size_t at)
{
	claims->count--;
	memmove(claims->items + at, claims->items + at + 1, (claims->count - at) * sizeof *claims->items);
}

void claims_add(struct claims *claims, uintptr_t start, size_t size, unsigned hint)
{
	insert(claims, first_behind(claims, start), (struct claim){start, start + size, hint});
}

bool claims_cut(struct claims *claims, uintptr_t start, size_t size)
{
	uintptr_t end = start + size;
	size_t at = first_behind(claims, start);
	bool any = false;

	while (at < claims->count && claims->items[at].start < end) {
		struct claim *claim = &claims->items[at];
		struct claim behind = {end, claim->end, claim->hint};

		any = true;
		if (claim->start < start) {
			claim->end = start;
			at++;
		} else {
			delete(claims, at);
		}
		if (behind.start < behind.end) {
			insert(claims, at, behind);
			break;
		}
	}
	return any;
}

bool claims_move(struct claims *claims, uintptr_t from, uintptr_t to, size_t size)
{
	size_t at = first_behind(claims, from);

	if (at == claims->count || claims->items[at].start > from || claims->items[at].end < from + size)
		return false;
	unsigned hint = claims->items[at].hint;
	claims_cut(claims, from, size);
	claims_add(claims, to, size, hint);
	return true;
}
