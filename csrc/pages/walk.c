/* Finds present pages, so that holes of large reservations cost nothing, and asks move_pages(2) on which node each is.
 * Found by the PAGEMAP_SCAN ioctl (since Linux 6.7), which skips what isn't there and knows huge pages without
 * CAP_SYS_ADMIN, else by reading /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#define _GNU_SOURCE
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_FILE (1ULL << 61) /* file page or shared memory */
#define ENTRY_FRAME ((1ULL << 55) - 1)
#define FLAG_HUGE (1ULL << 22) /* KPF_THP in /proc/kpageflags */
#define UNASKED INT_MIN
#define MOST_RUNS 512
#define LEAST_SAMPLE 32 /* pages that speak for their batch, at least */

/* linux/fs.h of 6.7, for older headers */
struct scan_run {
    uint64_t start, end, categories;
};
struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan)
#define IS_FILE (1U << 2)
#define IS_PRESENT (1U << 3)
#define IS_ZERO (1U << 5)
#define IS_HUGE (1U << 6)

struct walk {
    int pid, pagemap, kpageflags;
    int no_scan; /* the kernel has no PAGEMAP_SCAN */
    uint64_t page, huge;
    uint32_t place;
    uint64_t *cursor; /* the address that comes next when a batch asks to stop */
    struct batch batch;
    void *sample[PAGES_BATCH];
    int sample_node[PAGES_BATCH];
    batch_fn *fn;
    void *context;
    union { /* of one read */
        uint64_t entry[PAGES_BATCH];
        struct scan_run run[MOST_RUNS];
    };
};

int locate_pages(int pid, size_t n, void **address, int *node)
{
    for (size_t i = 0; i < n; i++)
        node[i] = UNASKED; /* the kernel may write fewer than it says */
    return syscall(SYS_move_pages, pid, n, address, NULL, node, 0) < 0 ? -errno : 0;
}

int sampled(const void *address, size_t pages)
{
    return pages > 1 ||
           ((uint32_t)((uintptr_t)address >> 12) * 2654435761U >> 28) == 0; /* Fibonacci hashing: no period of 16 */
}

/* Fills in the nodes of a large batch from a sample, if that is all on one node; else nothing. */
static int locate_by_sample(struct walk *walk, int *located)
{
    struct batch *batch = &walk->batch;
    size_t n = 0;
    *located = 0;
    for (size_t i = 0; i < batch->n; i++)
        if (sampled(batch->address[i], batch->pages[i]))
            walk->sample[n++] = batch->address[i];
    if (n < LEAST_SAMPLE)
        return 0;
    int status = locate_pages(walk->pid, n, walk->sample, walk->sample_node);
    for (size_t i = 0; i < n && !status; i++)
        if (walk->sample_node[i] < 0 || walk->sample_node[i] != walk->sample_node[0])
            return 0;
    for (size_t i = 0; i < batch->n && !status; i++)
        batch->node[i] = walk->sample_node[0];
    *located = !status;
    return status;
}

static int flush(struct walk *walk)
{
    struct batch *batch = &walk->batch;
    int status = 0, located;
    if (batch->n) {
        status = locate_by_sample(walk, &located);
        if (!status && !located)
            status = locate_pages(walk->pid, batch->n, batch->address, batch->node);
        if (!status)
            status = walk->fn(batch, walk->context);
    }
    batch->n = 0;
    return status;
}

static int add(struct walk *walk, uint64_t address, size_t pages, int shared)
{
    struct batch *batch = &walk->batch;
    *walk->cursor = address;
    int status = batch->n == PAGES_BATCH ? flush(walk) : 0;
    if (status)
        return status;
    batch->address[batch->n] = (void *)(uintptr_t)address;
    batch->pages[batch->n] = (uint16_t)pages;
    batch->shared[batch->n] = (uint8_t)shared;
    batch->place[batch->n] = walk->place;
    batch->n++;
    return 0;
}

/* --- by PAGEMAP_SCAN ------------------------------------------------------------------------------------------------ */

static int add_run(struct walk *walk, const struct scan_run *run, int shared)
{
    int whole = (run->categories & IS_HUGE) != 0, status = 0;
    uint64_t step = whole ? walk->huge : walk->page;
    uint64_t first = (run->start + step - 1) / step * step;
    for (uint64_t at = first; at < run->end && !status; at += step)
        status = add(walk, at, step / walk->page, shared);
    return status;
}

static int walk_by_scan(struct walk *walk, const struct pages_range *range)
{
    uint64_t not = IS_ZERO | (range->shared ? 0 : IS_FILE);
    struct scan scan = {.size = sizeof scan, .end = range->end, .vec = (uintptr_t)walk->run, .vec_len = MOST_RUNS,
                        .category_inverted = not, .category_mask = IS_PRESENT | not, .return_mask = IS_HUGE};
    for (scan.start = range->start; scan.start < range->end; scan.start = scan.walk_end) {
        int found = ioctl(walk->pagemap, SCAN, &scan), status = 0;
        if (found < 0)
            return -errno;
        for (int i = 0; i < found && !status; i++)
            status = add_run(walk, &walk->run[i], range->shared);
        if (status)
            return status;
        if (scan.walk_end <= scan.start)
            break; /* the process has ended */
    }
    return 0;
}

/* --- by reading pagemap ---------------------------------------------------------------------------------------------- */

/* Whether the entries from `entry` on are one transparent huge page. Frames are known with CAP_SYS_ADMIN only: without
 * it huge pages are taken page by page. */
static int is_huge(const struct walk *walk, const uint64_t *entry, size_t left, uint64_t address)
{
    uint64_t frame = entry[0] & ENTRY_FRAME, flags;
    if (address % walk->huge || left < PAGES_PER_HUGE || !frame || frame % PAGES_PER_HUGE)
        return 0;
    for (size_t i = 1; i < PAGES_PER_HUGE; i++)
        if (!(entry[i] & ENTRY_PRESENT) || (entry[i] & ENTRY_FRAME) != frame + i)
            return 0;
    return pread(walk->kpageflags, &flags, sizeof flags, frame * sizeof flags) == sizeof flags && flags & FLAG_HUGE;
}

static int walk_by_entries(struct walk *walk, const struct pages_range *range)
{
    const uint64_t chunk = PAGES_BATCH * walk->page; /* aligned, so that no huge page is cut in two */
    for (uint64_t at = range->start; at < range->end;) {
        uint64_t until = (at / chunk + 1) * chunk < range->end ? (at / chunk + 1) * chunk : range->end;
        size_t want = (until - at) / walk->page;
        ssize_t got = pread(walk->pagemap, walk->entry, want * sizeof *walk->entry, at / walk->page * sizeof *walk->entry);
        if (got <= 0)
            return got < 0 ? -errno : 0; /* nothing left: the process has ended */
        for (size_t i = 0, n = got / sizeof *walk->entry, step; i < n; i += step, at += step * walk->page) {
            step = 1;
            if (!(walk->entry[i] & ENTRY_PRESENT) || (!range->shared && walk->entry[i] & ENTRY_FILE))
                continue;
            if (is_huge(walk, walk->entry + i, n - i, at))
                step = PAGES_PER_HUGE;
            int status = add(walk, at, step, range->shared);
            if (status)
                return status;
        }
    }
    return 0;
}

static int walk_range(struct walk *walk, const struct pages_range *range)
{
    if (!walk->no_scan) {
        int status = walk_by_scan(walk, range);
        if (status != -ENOTTY)
            return status;
        walk->no_scan = 1;
        walk->kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
    }
    return walk_by_entries(walk, range);
}

/* --- the areas of a process ------------------------------------------------------------------------------------------ */

size_t first_after(const struct pages_range *ranges, size_t n, uint64_t address)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (ranges[middle].end > address)
            n = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int walk_between(struct walk *walk, const struct pages_range *ranges, size_t n, uint64_t start, uint64_t end)
{
    for (size_t i = first_after(ranges, n, start); i < n && ranges[i].start < end; i++) {
        struct pages_range range = ranges[i];
        range.start = range.start < start ? start : range.start;
        range.end = range.end > end ? end : range.end;
        int status = walk_range(walk, &range);
        if (status)
            return status;
    }
    return 0;
}

static int walk_all(struct walk *walk, const struct pages_range *ranges, size_t n, const struct places *places)
{
    if (!places) {
        int status = walk_between(walk, ranges, n, *walk->cursor, UINT64_MAX);
        return status ? status : flush(walk);
    }
    for (walk->place = 0; walk->place < places->n; walk->place++) {
        uint64_t start = places->starts[walk->place] / walk->page * walk->page;
        uint64_t end = places->ends[walk->place] / walk->page * walk->page;
        int status = walk_between(walk, ranges, n, start, end);
        if (status)
            return status;
    }
    return flush(walk);
}

static int gone(int error)
{
    return error == ENOENT ? -ESRCH : -error;
}

int walk_pages(int pid, const struct places *places, uint64_t *cursor, batch_fn *fn, void *context)
{
    char path[32];
    size_t n;
    struct pages_range *ranges = movable_ranges(pid, &n);
    if (!ranges)
        return gone(errno);
    struct walk *walk = malloc(sizeof *walk);
    if (!walk) {
        free(ranges);
        return -ENOMEM;
    }
    walk->pid = pid;
    walk->page = sysconf(_SC_PAGESIZE);
    walk->huge = PAGES_PER_HUGE * walk->page;
    walk->no_scan = 0;
    walk->kpageflags = -1;
    walk->place = 0;
    walk->cursor = cursor;
    walk->batch.n = 0;
    walk->fn = fn;
    walk->context = context;
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    walk->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    int status = walk->pagemap < 0 ? gone(errno) : walk_all(walk, ranges, n, places);
    if (walk->pagemap >= 0)
        close(walk->pagemap);
    if (walk->kpageflags >= 0)
        close(walk->kpageflags);
    if (status == 0)
        *cursor = 0;
    free(walk);
    free(ranges);
    return status == 1 ? 0 : status;
}
