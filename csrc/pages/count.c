/* Counting: how many bytes of a process lie on each node. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "walk.h"

static int count_batch(struct batch *batch, void *context)
{
    uint64_t *bytes = context, page = sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < batch->n; i++)
        if (batch->node[i] >= 0 && batch->node[i] < PAGES_MAX_NODES)
            bytes[batch->node[i]] += batch->pages[i] * page;
    return 0;
}

int pages_count(int pid, uint64_t bytes[PAGES_MAX_NODES])
{
    uint64_t cursor = 0;
    memset(bytes, 0, PAGES_MAX_NODES * sizeof *bytes);
    return walk_pages(pid, NULL, &cursor, count_batch, bytes);
}

struct table {
    uint64_t *bytes, page;
    int nodes;
};

static int count_places(struct batch *batch, void *context)
{
    const struct table *table = context;
    for (size_t i = 0; i < batch->n; i++)
        if (batch->node[i] >= 0 && batch->node[i] < table->nodes)
            table->bytes[(size_t)batch->place[i] * table->nodes + batch->node[i]] += batch->pages[i] * table->page;
    return 0;
}

int pages_locate(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, int nodes, uint64_t *bytes)
{
    struct places places = {starts, ends, n};
    struct table table = {bytes, sysconf(_SC_PAGESIZE), nodes};
    uint64_t cursor = 0;
    memset(bytes, 0, n * nodes * sizeof *bytes);
    return walk_pages(pid, &places, &cursor, count_places, &table);
}
