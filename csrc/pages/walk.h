/* Walks the present, movable pages of a process, a batch at a time. Used inside the engine only. */
#ifndef TIERWISE_WALK_H
#define TIERWISE_WALK_H

#include "pages.h"

#define PAGES_PER_HUGE 512 /* base pages of a PMD-sized transparent huge page with 4 KiB pages */

struct batch {
    size_t n;
    void *address[PAGES_BATCH];
    uint64_t frame[PAGES_BATCH]; /* page frame number, 0 where we may not see it (CAP_SYS_ADMIN) */
    int node[PAGES_BATCH];       /* where the page is, or a negative errno */
};

/* Called with each batch, whose nodes are filled in. A huge page is never cut in two. Returns 0 to go on, 1 to stop,
 * or a negative errno. */
typedef int batch_fn(struct batch *batch, void *context);

/* Walks `pid` from `*cursor` on, leaving there where it stopped (0: at the end). Returns 0 or a negative errno. */
int walk_pages(int pid, uint64_t *cursor, batch_fn *fn, void *context);

/* Where `n` pages are now, into `node`; move_pages(2) without nodes. */
int locate_pages(int pid, size_t n, void **address, int *node);

#endif
