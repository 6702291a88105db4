#include "counts.h"

#include <inttypes.h>
#include <stdlib.h>

int node_of(const struct span *spans, int nodes, uint64_t address)
{
    for (int node = 0; node < nodes; node++)
        if (address >= spans[node].start && address < spans[node].end)
            return node;
    return -1;
}

int parse_spans(const char *text, struct span *spans)
{
    int nodes = 0;

    for (;;) {
        char *end;
        if (nodes == MAX_NODES)
            return -1;
        spans[nodes].start = strtoull(text, &end, 10);
        if (end == text || *end != '-')
            return -1;
        text = end + 1;
        spans[nodes].end = strtoull(text, &end, 10);
        if (end == text || spans[nodes].end <= spans[nodes].start)
            return -1;
        nodes++;
        if (*end == '\0')
            return nodes;
        if (*end != '+')
            return -1;
        text = end + 1;
    }
}

void write_counts(FILE *file, char what, unsigned cpu, const struct counts *counts, int nodes)
{
    fprintf(file, "%c %u %" PRIu64 " %" PRIu64 " %" PRIu64, what, cpu, counts->instructions, counts->loads,
            counts->stores);
    for (int node = 0; node < nodes; node++) {
        const struct traffic *traffic = &counts->node[node];
        fprintf(file, " %" PRIu64 " %" PRIu64 " %" PRIu64, traffic->demand, traffic->stream, traffic->written);
    }
    fputc('\n', file);
    fflush(file);
}
