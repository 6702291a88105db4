/* The clock's caches. Each CPU has a first level of 32 KiB, direct mapped and looked up by virtual address, which
 * spares most accesses the translation; all share a last level of 1 MiB, 16 ways, by physical address, least recently
 * used out first, written back. The sizes are small as the guest's working sets are. */
#ifndef TIERCLOCK_CACHE_H
#define TIERCLOCK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

enum { LINE_SHIFT = 6, FIRST_LINES = 512, LAST_WAYS = 16, LAST_SETS = 1024 };

/* Lines by their virtual number plus one; bit 63 says that the last level knows them as written. */
struct first_level {
    uint64_t lines[FIRST_LINES];
};

/* Each set from the most to the least recently used line: (number + 1) << 1 | written; 0 is empty. */
struct last_level {
    uint32_t sets[LAST_SETS][LAST_WAYS];
};

#define FIRST_WRITTEN (UINT64_C(1) << 63)

/* Whether a load of this virtual address is served by the first level; if not, it holds the line from now on. */
static inline bool first_load(struct first_level *cache, uint64_t address)
{
    uint64_t line = (address >> LINE_SHIFT) + 1;
    uint64_t *slot = &cache->lines[line % FIRST_LINES];
    if ((*slot & ~FIRST_WRITTEN) == line)
        return true;
    *slot = line;
    return false;
}

/* The same for a store; a line that was only read goes on to the last level once, to be marked as written. */
static inline bool first_store(struct first_level *cache, uint64_t address)
{
    uint64_t line = ((address >> LINE_SHIFT) + 1) | FIRST_WRITTEN;
    uint64_t *slot = &cache->lines[(line & ~FIRST_WRITTEN) % FIRST_LINES];
    if (*slot == line)
        return true;
    *slot = line;
    return false;
}

/* What an access to the last level did: `hit`, or it fetched the line; `evicted` is a line number that had to be
 * written back for it, or NO_LINE. */
struct fetched {
    bool hit;
    uint32_t evicted;
};

#define NO_LINE UINT32_MAX

/* Access a physical line (address >> LINE_SHIFT, below 2^30). */
struct fetched last_access(struct last_level *cache, uint32_t line, bool store);

#endif
