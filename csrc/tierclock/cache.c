#include "cache.h"

#include <string.h>

struct fetched last_access(struct last_level *cache, uint32_t line, bool store)
{
    uint32_t *set = cache->sets[line % LAST_SETS];
    uint32_t entry = (line + 1) << 1;
    uint32_t written = store;
    int way = 0;

    while (way < LAST_WAYS - 1 && (set[way] & ~1u) != entry && set[way] != 0)
        way++;
    struct fetched done = {.hit = (set[way] & ~1u) == entry, .evicted = NO_LINE};
    if (done.hit)
        written |= set[way] & 1u;
    else if (set[way] & 1u)
        done.evicted = (set[way] >> 1) - 1;
    memmove(set + 1, set, (size_t)way * sizeof *set);
    set[0] = entry | written;
    return done;
}
