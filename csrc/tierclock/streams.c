#include "streams.h"

enum { REACH = 2 }; /* a stream may skip a line, as every other one may have been a hit */

static bool continues(const struct run *run, uint64_t line)
{
    int64_t step = (int64_t)(line - run->line) * run->step;
    return step >= 1 && step <= REACH;
}

static struct run *oldest(struct run *runs, int count)
{
    struct run *found = runs;
    for (int i = 1; i < count; i++)
        if (runs[i].used < found->used)
            found = &runs[i];
    return found;
}

bool streams_follow(struct streams *streams, uint64_t line)
{
    uint32_t now = ++streams->now;

    for (int i = 0; i < STREAMS; i++) {
        struct run *run = &streams->established[i];
        if (continues(run, line)) {
            *run = (struct run){line, run->step, now};
            return true;
        }
    }
    for (int i = 0; i < TRAINEES; i++) {
        struct run *run = &streams->trainees[i];
        if (run->step == 0 && run->used != 0 && (line == run->line + 1 || line == run->line - 1)) {
            *run = (struct run){line, line > run->line ? 1 : -1, now};
            return false;
        }
        if (continues(run, line)) {
            *oldest(streams->established, STREAMS) = (struct run){line, run->step, now};
            *run = (struct run){0};
            return true;
        }
    }
    *oldest(streams->trainees, TRAINEES) = (struct run){line, 0, now};
    return false;
}
