/* Walks the present, movable pages of a process, a batch at a time. Used inside the engine only. */
#ifndef TIERWISE_WALK_H
#define TIERWISE_WALK_H

#include "pages.h"

#define PAGES_PER_HUGE 512 /* base pages of a PMD-sized transparent huge page with 4 KiB pages */

/* Units that are moved as a whole: base pages, and huge pages by the address of their first page. */
struct batch {
    size_t n;
    void *address[PAGES_BATCH];
    uint16_t pages[PAGES_BATCH]; /* base pages of the unit: 1 or PAGES_PER_HUGE */
    uint8_t shared[PAGES_BATCH]; /* shared memory, not anonymous */
    uint32_t place[PAGES_BATCH]; /* which of the places it lies in */
    int node[PAGES_BATCH];       /* where its first page is, or a negative errno */
};

/* The parts of a process to walk, in this order; a huge page belongs to where it begins. */
struct places {
    const uint64_t *starts, *ends;
    size_t n;
};

/* Called with each batch, whose nodes are filled in. Returns 0 to go on, 1 to stop, or a negative errno. */
typedef int batch_fn(struct batch *batch, void *context);

/* Whether a unit of `pages` is of the sample that speaks for the others: each sixteenth page, and every huge one, for
 * which no small one can speak. Where these all lie on one node, so do their neighbours, within a percent or two.
 * Asking for every page would make moves a tenth slower. */
int sampled(const void *address, size_t pages);

/* Walks `places` of `pid` (NULL: all of it, from `*cursor` on), leaving in `*cursor` where it stopped (0: at the end).
 * Returns 0 or a negative errno. */
int walk_pages(int pid, const struct places *places, uint64_t *cursor, batch_fn *fn, void *context);

/* The movable ranges of `pid`, ascending, which the caller frees; NULL with errno set. */
struct pages_range *movable_ranges(int pid, size_t *n);

/* The first of the ranges, which ascend, that ends after `address`. */
size_t first_after(const struct pages_range *ranges, size_t n, uint64_t address);

/* Where `n` pages are now, into `node`; move_pages(2) without nodes. */
int locate_pages(int pid, size_t n, void **address, int *node);

#endif
