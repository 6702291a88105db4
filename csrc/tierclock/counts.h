/* What the clock counts on one CPU, and the file that it goes to. */
#ifndef TIERCLOCK_COUNTS_H
#define TIERCLOCK_COUNTS_H

#include <stdint.h>
#include <stdio.h>

enum { MAX_NODES = 8 };

/* Lines of 64 bytes: fetched because an access waited for them, fetched ahead of it, and written back. */
struct traffic {
    uint64_t demand;
    uint64_t stream;
    uint64_t written;
};

struct counts {
    uint64_t instructions;
    uint64_t loads;
    uint64_t stores;
    struct traffic node[MAX_NODES];
};

/* A NUMA node's memory as the plugin sees it: addresses from `start` up to `end`. */
struct span {
    uint64_t start;
    uint64_t end;
};

/* The node that has this address, or -1: firmware and the like. */
int node_of(const struct span *spans, int nodes, uint64_t address);

/* Reads "START-END+START-END…", bytes in decimal, in the order of the nodes. The number of nodes, or -1. */
int parse_spans(const char *text, struct span *spans);

/* One line: what (b, e, or i for an interval), CPU, instructions, loads, stores, then demand, stream and written of
 * each node. */
void write_counts(FILE *file, char what, unsigned cpu, const struct counts *counts, int nodes);

#endif
