/* Each thread keeps a few free objects of each size, so that most allocations take no lock. */
#include "internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, BATCH_BYTES = 64 << 10 };

struct bin {
	void *objects; /* chained by their first word */
	unsigned count;
};

struct cache {
	struct bin *bins[HINTS]; /* CLASSES of them, made when first used */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static __thread struct cache *mine;
static __thread bool ended; /* the thread is ending: its cache has been given back */

static unsigned batch(unsigned class)
{
	size_t fits = BATCH_BYTES / class_size(class);

	return fits < BATCH ? (unsigned)fits : BATCH;
}

static void give_back(void *value)
{
	struct cache *cache = value;

	mine = NULL;
	ended = true;
	for (unsigned hint = 0; hint < HINTS; hint++) {
		for (unsigned class = 0; cache->bins[hint] && class < CLASSES; class++)
			arena_give(hint, cache->bins[hint][class].objects);
		free(cache->bins[hint]);
	}
	free(cache);
}

static void make_key(void)
{
	pthread_key_create(&key, give_back);
}

static struct bin *make_bin(unsigned hint, unsigned class)
{
	if (ended)
		return NULL;
	if (!mine) {
		struct cache *cache = calloc(1, sizeof *cache);

		pthread_once(&once, make_key);
		if (!cache || pthread_setspecific(key, cache) != 0) {
			free(cache);
			return NULL;
		}
		mine = cache;
	}
	if (!mine->bins[hint])
		mine->bins[hint] = calloc(CLASSES, sizeof **mine->bins);
	return mine->bins[hint] ? &mine->bins[hint][class] : NULL;
}

static struct bin *bin_of(unsigned hint, unsigned class)
{
	struct cache *cache = mine;

	return cache && cache->bins[hint] ? &cache->bins[hint][class] : make_bin(hint, class);
}

static void *pop(struct bin *bin)
{
	void *object = bin->objects;

	memcpy(&bin->objects, object, sizeof bin->objects);
	bin->count--;
	return object;
}

void *cache_alloc(unsigned hint, unsigned class)
{
	struct bin *bin = bin_of(hint, class);
	unsigned got;

	if (!bin)
		return arena_take(hint, class, 1, &got);
	if (!bin->objects) {
		bin->objects = arena_take(hint, class, batch(class), &got);
		bin->count = got;
		if (!bin->objects)
			return NULL;
	}
	return pop(bin);
}

/* Give half of a full bin to the arena, for other threads. */
static void spill(struct bin *bin, unsigned hint)
{
	unsigned left = bin->count / 2;
	void *objects = NULL;

	while (bin->count > left) {
		void *object = pop(bin);

		memcpy(object, &objects, sizeof objects);
		objects = object;
	}
	arena_give(hint, objects);
}

void cache_free(void *memory, unsigned hint, unsigned class)
{
	struct bin *bin = bin_of(hint, class);

	if (!bin) {
		memset(memory, 0, sizeof(void *));
		arena_give(hint, memory);
		return;
	}
	memcpy(memory, &bin->objects, sizeof bin->objects);
	bin->objects = memory;
	if (++bin->count > 2 * batch(class))
		spill(bin, hint);
}
