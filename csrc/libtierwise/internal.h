/* What the library's files know of each other. Locks are taken in this order: an arena's, the mappings', the regions',
 * the hints', the events', the session's. */
#ifndef TIERWISE_INTERNAL_H
#define TIERWISE_INTERNAL_H

#include "tierwise.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	TIER_NAME = 16,
	FLAGS = 16, /* combinations of the four flags: hints 0 to 15 */
	HINTS = 24, /* and as many named tiers as are left */
	MAX_TIERS = 8,
	MAX_NODES = 64,
	REASON = 512,
	RETRY_MS = 5000, /* for so long an agent that didn't answer is not asked again */
};

/* hint.c: what a caller asks for, as a small number. */

/* The hint of a tier's name, or -1 with EINVAL. */
int hint_of_tier(const char *tier);

/* A hint in the agent's words ("LAT,BW" or "tier:cxl"), into `text` of at least 24 bytes. */
void hint_text(unsigned hint, char *text);

/* Remember why for tierwise_reason(). */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* session.c: the connection to the agent. */

/* One stretch of a grant: `size` bytes on the `nodes` (a mask). */
struct part {
	size_t size;
	uint64_t nodes;
};

struct grant {
	bool spread;   /* interleaved over all parts' nodes, else the parts lie one behind the other */
	bool balanced; /* the kernel may promote its pages */
	bool partly;
	unsigned count;
	struct part parts[MAX_TIERS];
};

struct tier {
	char name[TIER_NAME];
	uint64_t nodes;
};

/* Ask for `size` bytes at `start`. TIERWISE_TAKEN or PARTLY with `grant` filled in, else NO_AGENT or REFUSED. */
int session_alloc(const void *start, size_t size, unsigned hint, struct grant *grant);

/* Tell that a range, granted or not, is gone, or lies elsewhere. */
void session_free(const void *start, size_t size);
void session_move(const void *from, const void *to, size_t size);

struct region_answer {
	int descriptor;
	size_t size;
	bool created;
	int status;
	struct grant grant;
};

/* Open, resize or drop a named region. 0, or -1 with errno. */
int session_region_open(const char *name, size_t size, unsigned hint, unsigned options, struct region_answer *answer);
int session_region_grow(const char *name, size_t size, struct region_answer *answer);
int session_region_close(const char *name);
int session_region_drop(const char *name);

/* The descriptor of a new event pipe, or -1 with errno. */
int session_events(void);

/* The tiers that the agent told of; 0 without one. */
unsigned session_tiers(struct tier tiers[MAX_TIERS]);

/* answer.c: the agent's words. `text` is changed. */
bool parse_tiers(char *text, struct tier tiers[MAX_TIERS], unsigned *count);
bool parse_parts(char *text, struct grant *grant);

/* place.c: memory policies. */

/* Ask the agent for a range and give it its policy: whether the hint was taken. `move`: pages that are there, too. */
int place(void *start, size_t size, unsigned hint, bool move);

/* The policy of a grant alone. False with errno. */
bool place_as(void *start, size_t size, const struct grant *grant, bool move);

/* mapping.c: memory straight from the kernel. */
enum { CHUNK = 4 << 20 }; /* what is aligned so is a mapping of its own; all else lies inside a chunk of an arena */

/* Address space for `size` bytes, aligned to CHUNK. */
void *map_aligned(size_t size);

void *mapping_alloc(size_t size, unsigned hint);
void mapping_free(void *memory);
void *mapping_grow(void *memory, size_t size);
/* The size of a mapping, 0 if there is none; its status where asked. */
size_t mapping_size(const void *memory, int *status);

/* arena.c: small memory, an arena for each hint. */
enum { LARGEST_SMALL = 32 << 10, LARGEST_RUN = 1 << 20, CLASSES = 40 };

unsigned class_of(size_t size);
size_t class_size(unsigned class);

/* Take up to `want` objects of a class out, chained by their first word. `*got`: how many; NULL: no memory. */
void *arena_take(unsigned hint, unsigned class, unsigned want, unsigned *got);
/* Give objects, chained so, back. */
void arena_give(unsigned hint, void *objects);
void *arena_run(size_t size, unsigned hint);
void arena_free_run(void *memory);

enum { NOT_SMALL = 255 }; /* the class of a run */
/* What is known of memory inside a chunk. Ends the program if it is no memory of ours. */
struct small {
	unsigned hint, class;
	size_t size;
	int status;
};
struct small arena_look(const void *memory);

/* cache.c: each thread's small change. */
void *cache_alloc(unsigned hint, unsigned class);
void cache_free(void *memory, unsigned hint, unsigned class);

/* region.c */

/* Whether a region's hint was taken, or -1 where no region is mapped at `memory`. */
int region_status(const void *memory);

/* fork.c: every file's lock is held over a fork, in the order above. */
void arena_before_fork(void);
void arena_after_fork(void);
void mapping_before_fork(void);
void mapping_after_fork(void);
void region_before_fork(void);
void region_after_fork(void);
void hint_before_fork(void);
void hint_after_fork(void);
void events_before_fork(void);
void events_after_fork(void);
void session_before_fork(void);
void session_after_fork(bool child);

#endif
