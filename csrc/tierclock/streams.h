/* Which misses a prefetcher would have fetched in time: those that continue a run of neighbouring lines, up or down,
 * across pages too (virtual addresses). The third line of a run is the first that counts as a stream. */
#ifndef TIERCLOCK_STREAMS_H
#define TIERCLOCK_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

enum { TRAINEES = 8, STREAMS = 16 };

struct run {
    uint64_t line;
    int8_t step; /* 1 or -1; 0 while there is only one line */
    uint32_t used;
};

/* Of one CPU. Lines that continue nothing only displace each other, never an established stream. */
struct streams {
    struct run trainees[TRAINEES];
    struct run established[STREAMS];
    uint32_t now;
};

/* Note that this virtual line was missed in the first level; whether it continues an established stream. */
bool streams_follow(struct streams *streams, uint64_t line);

#endif
