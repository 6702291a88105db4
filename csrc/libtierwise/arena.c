/* Small memory. An arena, one for each hint, has chunks of CHUNK bytes, aligned so; a chunk is 64 units of 64 KiB, the
 * first of which describes it. A unit holds objects of one size, or is part of a run for one larger piece. Chunks come
 * from the kernel and the agent several at a time, so neither hears of a single allocation. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	UNIT = 64 << 10,
	UNITS = CHUNK / UNIT,
	FREE_UNIT = 254, /* a class that no object has */
	MOST_AT_ONCE = 16, /* chunks: 64 MiB */
};
#define MAGIC UINT64_C(0x7469657277697365)

/* A unit of objects, or the first unit of a run. */
struct unit {
	uint8_t class;
	uint8_t length;  /* of a run, in units */
	uint32_t fresh;  /* objects that were never handed out begin with this one */
	uint32_t out;    /* objects handed out */
	void *free;      /* objects that came back, chained */
	struct unit *next, *previous; /* among the arena's units of this class that have objects left */
};

struct chunk {
	uint64_t magic;
	unsigned hint;
	int status;
	uint64_t used; /* a bit for each unit */
	struct chunk *next, *previous;
	struct unit units[UNITS];
};

_Static_assert(sizeof(struct chunk) <= UNIT, "the description fits into the first unit");
_Static_assert(UNITS == 64, "one word has a bit for each unit");

struct arena {
	pthread_mutex_t lock;
	struct chunk *chunks;
	struct unit *partial[CLASSES];
	char *reserve; /* chunks that are mapped and placed, and not in use yet */
	unsigned reserved, count;
	int status;
};

static struct arena arenas[HINTS] = {[0 ... HINTS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

/* Sizes: 16 to 128 by 16, then four steps to each doubling. */
unsigned class_of(size_t size)
{
	if (size <= 128)
		return size ? (unsigned)(size - 1) / 16 : 0;
	unsigned high = 63 - (unsigned)__builtin_clzl(size - 1); /* 7 for 129 to 256 */
	return 8 + (high - 7) * 4 + (unsigned)((size - 1) >> (high - 2) & 3);
}

size_t class_size(unsigned class)
{
	if (class < 8)
		return (class + 1) * 16;
	unsigned step = class - 8;
	return (size_t)(5 + step % 4) << (step / 4 + 5);
}

static struct chunk *chunk_of(const void *memory)
{
	struct chunk *chunk = (struct chunk *)((uintptr_t)memory & -(uintptr_t)CHUNK);

	if (chunk->magic != MAGIC) {
		fprintf(stderr, "libtierwise: %p was not allocated by it\n", memory);
		abort();
	}
	return chunk;
}

static struct chunk *chunk_of_unit(struct unit *unit)
{
	return (struct chunk *)((uintptr_t)unit & -(uintptr_t)CHUNK);
}

static char *unit_start(struct unit *unit)
{
	struct chunk *chunk = chunk_of_unit(unit);

	return (char *)chunk + (size_t)(unit - chunk->units) * UNIT;
}

static struct unit *unit_of(const void *memory)
{
	struct chunk *chunk = chunk_of(memory);

	return &chunk->units[((uintptr_t)memory & (CHUNK - 1)) / UNIT];
}

/* --- chunks ------------------------------------------------------------------------------------------------------ */

/* Each time as many chunks as the arena has, so that a large heap takes few calls. */
static bool reserve(struct arena *arena, unsigned hint)
{
	unsigned want = arena->count == 0 ? 1 : arena->count < MOST_AT_ONCE ? arena->count : MOST_AT_ONCE;
	char *start = map_aligned((size_t)want * CHUNK);

	if (!start)
		return false;
	arena->status = place(start, (size_t)want * CHUNK, hint, false);
	arena->reserve = start;
	arena->reserved = want;
	return true;
}

static struct chunk *new_chunk(struct arena *arena, unsigned hint)
{
	if (!arena->reserved && !reserve(arena, hint))
		return NULL;
	struct chunk *chunk = (struct chunk *)arena->reserve;
	arena->reserve += CHUNK;
	arena->reserved--;
	arena->count++;
	chunk->magic = MAGIC;
	chunk->hint = hint;
	chunk->status = arena->status;
	chunk->used = 1;
	for (unsigned i = 0; i < UNITS; i++)
		chunk->units[i].class = FREE_UNIT;
	chunk->next = arena->chunks;
	if (chunk->next)
		chunk->next->previous = chunk;
	arena->chunks = chunk;
	return chunk;
}

/* Give an empty chunk back, unless it is the only one: the next allocation would want it again. */
static void end_chunk(struct arena *arena, struct chunk *chunk)
{
	if (arena->count == 1)
		return;
	if (chunk->previous)
		chunk->previous->next = chunk->next;
	else
		arena->chunks = chunk->next;
	if (chunk->next)
		chunk->next->previous = chunk->previous;
	arena->count--;
	session_free(chunk, CHUNK);
	munmap(chunk, CHUNK);
}

/* `length` free units in a row: the lowest one's number, 0 if there are none (unit 0 is never free). */
static unsigned find_units(uint64_t used, unsigned length)
{
	uint64_t starts = ~used;

	for (unsigned i = 1; i < length && starts; i++)
		starts &= ~used >> i;
	return starts ? (unsigned)__builtin_ctzl(starts) : 0;
}

static uint64_t bits(unsigned first, unsigned length)
{
	return (length == 64 ? ~UINT64_C(0) : (UINT64_C(1) << length) - 1) << first;
}

static struct unit *take_units(struct arena *arena, unsigned hint, unsigned length)
{
	struct chunk *chunk = arena->chunks;
	unsigned first = 0;

	while (chunk && !(first = find_units(chunk->used, length)))
		chunk = chunk->next;
	if (!chunk) {
		chunk = new_chunk(arena, hint);
		if (!chunk)
			return NULL;
		first = 1;
	}
	chunk->used |= bits(first, length);
	return &chunk->units[first];
}

static void give_units(struct arena *arena, struct unit *unit, unsigned length)
{
	struct chunk *chunk = chunk_of_unit(unit);

	unit->class = FREE_UNIT;
	chunk->used &= ~bits((unsigned)(unit - chunk->units), length);
	if (chunk->used == 1)
		end_chunk(arena, chunk);
}

/* --- objects ----------------------------------------------------------------------------------------------------- */

static void link_unit(struct arena *arena, struct unit *unit)
{
	struct unit **head = &arena->partial[unit->class];

	unit->previous = NULL;
	unit->next = *head;
	if (*head)
		(*head)->previous = unit;
	*head = unit;
}

static void unlink_unit(struct arena *arena, struct unit *unit)
{
	if (unit->previous)
		unit->previous->next = unit->next;
	else
		arena->partial[unit->class] = unit->next;
	if (unit->next)
		unit->next->previous = unit->previous;
}

static bool is_full(const struct unit *unit)
{
	return !unit->free && unit->fresh == UNIT / class_size(unit->class);
}

static struct unit *unit_with_room(struct arena *arena, unsigned hint, unsigned class)
{
	struct unit *unit = arena->partial[class];

	if (unit)
		return unit;
	unit = take_units(arena, hint, 1);
	if (unit) {
		*unit = (struct unit){.class = (uint8_t)class, .length = 1};
		link_unit(arena, unit);
	}
	return unit;
}

static void *take_object(struct unit *unit)
{
	void *object = unit->free;

	if (object)
		memcpy(&unit->free, object, sizeof unit->free);
	else
		object = unit_start(unit) + unit->fresh++ * class_size(unit->class);
	unit->out++;
	return object;
}

void *arena_take(unsigned hint, unsigned class, unsigned want, unsigned *got)
{
	struct arena *arena = &arenas[hint];
	void *objects = NULL;

	*got = 0;
	pthread_mutex_lock(&arena->lock);
	while (*got < want) {
		struct unit *unit = unit_with_room(arena, hint, class);

		if (!unit)
			break;
		while (*got < want && !is_full(unit)) {
			void *object = take_object(unit);

			memcpy(object, &objects, sizeof objects);
			objects = object;
			(*got)++;
		}
		if (is_full(unit))
			unlink_unit(arena, unit);
	}
	pthread_mutex_unlock(&arena->lock);
	return objects;
}

static void give_object(struct arena *arena, void *object)
{
	struct unit *unit = unit_of(object);
	bool was_full = is_full(unit);

	memcpy(object, &unit->free, sizeof unit->free);
	unit->free = object;
	unit->out--;
	if (was_full)
		link_unit(arena, unit);
	if (unit->out == 0) {
		unlink_unit(arena, unit);
		give_units(arena, unit, 1);
	}
}

void arena_give(unsigned hint, void *objects)
{
	struct arena *arena = &arenas[hint];

	pthread_mutex_lock(&arena->lock);
	while (objects) {
		void *object = objects;

		memcpy(&objects, object, sizeof objects);
		give_object(arena, object);
	}
	pthread_mutex_unlock(&arena->lock);
}

/* --- runs -------------------------------------------------------------------------------------------------------- */

void *arena_run(size_t size, unsigned hint)
{
	struct arena *arena = &arenas[hint];
	unsigned length = (unsigned)((size + UNIT - 1) / UNIT);

	pthread_mutex_lock(&arena->lock);
	struct unit *unit = take_units(arena, hint, length);
	if (unit)
		*unit = (struct unit){.class = NOT_SMALL, .length = (uint8_t)length};
	pthread_mutex_unlock(&arena->lock);
	return unit ? unit_start(unit) : NULL;
}

void arena_free_run(void *memory)
{
	struct unit *unit = unit_of(memory);
	struct arena *arena = &arenas[chunk_of(memory)->hint];

	pthread_mutex_lock(&arena->lock);
	give_units(arena, unit, unit->length);
	pthread_mutex_unlock(&arena->lock);
}

struct small arena_look(const void *memory)
{
	const struct chunk *chunk = chunk_of(memory);
	const struct unit *unit = unit_of(memory);
	size_t size = unit->class == NOT_SMALL ? (size_t)unit->length * UNIT : 0;

	if (unit->class == FREE_UNIT) {
		fprintf(stderr, "libtierwise: %p was not allocated, or freed before\n", memory);
		abort();
	}
	return (struct small){chunk->hint, unit->class, size ? size : class_size(unit->class), chunk->status};
}

void arena_before_fork(void)
{
	for (unsigned i = 0; i < HINTS; i++)
		pthread_mutex_lock(&arenas[i].lock);
}

void arena_after_fork(void)
{
	for (unsigned i = HINTS; i-- > 0;)
		pthread_mutex_unlock(&arenas[i].lock);
}
