/* Finds present pages by /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst), so that holes of large
 * reservations cost nothing, and asks move_pages(2) on which node each one is. */
#define _GNU_SOURCE
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_FILE (1ULL << 61) /* file page or shared memory */
#define ENTRY_FRAME ((1ULL << 55) - 1)
#define UNASKED INT_MIN
#define MOST_MAPS (64U << 20) /* bytes of /proc/PID/maps that we read at most */

struct walk {
    int pid, pagemap;
    uint64_t page;
    struct batch batch;
    batch_fn *fn;
    void *context;
};

int locate_pages(int pid, size_t n, void **address, int *node)
{
    for (size_t i = 0; i < n; i++)
        node[i] = UNASKED; /* the kernel may write fewer than it says */
    return syscall(SYS_move_pages, pid, n, address, NULL, node, 0) < 0 ? -errno : 0;
}

static int flush(struct walk *walk)
{
    struct batch *batch = &walk->batch;
    int status = 0;
    if (batch->n) {
        status = locate_pages(walk->pid, batch->n, batch->address, batch->node);
        if (!status)
            status = walk->fn(batch, walk->context);
    }
    batch->n = 0;
    return status;
}

static int add(struct walk *walk, uint64_t address, uint64_t entry)
{
    struct batch *batch = &walk->batch;
    int whole = address % (PAGES_PER_HUGE * walk->page) == 0 && batch->n + PAGES_PER_HUGE > PAGES_BATCH;
    int status = whole || batch->n == PAGES_BATCH ? flush(walk) : 0;
    if (status)
        return status;
    batch->address[batch->n] = (void *)(uintptr_t)address;
    batch->frame[batch->n] = entry & ENTRY_FRAME;
    batch->n++;
    return 0;
}

/* Adds the present pages of a range. `*cursor` is the address that comes next when a batch asks to stop. */
static int walk_range(struct walk *walk, const struct pages_range *range, uint64_t *cursor)
{
    uint64_t entry[PAGES_BATCH];
    for (uint64_t at = range->start; at < range->end;) {
        uint64_t left = (range->end - at) / walk->page;
        size_t want = left < PAGES_BATCH ? left : PAGES_BATCH;
        ssize_t got = pread(walk->pagemap, entry, want * sizeof *entry, at / walk->page * sizeof *entry);
        if (got <= 0)
            return got < 0 ? -errno : 0; /* nothing left: the process has ended */
        for (size_t i = 0; i < got / sizeof *entry; i++, at += walk->page) {
            if (!(entry[i] & ENTRY_PRESENT) || (!range->shared && (entry[i] & ENTRY_FILE)))
                continue;
            *cursor = at;
            int status = add(walk, at, entry[i]);
            if (status)
                return status;
        }
    }
    return 0;
}

/* The whole of /proc/PID/maps as a string that the caller frees; NULL with errno set. */
static char *read_maps(int pid)
{
    char path[32], *text = NULL;
    size_t length = 0, room = 0;
    ssize_t got = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return NULL;
    do {
        if (room - length < 65536 && room < MOST_MAPS) {
            char *more = realloc(text, room = room ? 2 * room : 131072);
            if (!more) {
                got = -1;
                break;
            }
            text = more;
        }
        got = read(file, text + length, room - length - 1);
        length += got > 0 ? got : 0;
    } while (got > 0);
    int why = errno;
    close(file);
    if (got < 0) {
        free(text);
        errno = why;
        return NULL;
    }
    text[length] = 0;
    return text;
}

static struct pages_range *read_ranges(int pid, size_t *n)
{
    char *text = read_maps(pid);
    if (!text)
        return NULL;
    *n = pages_parse_maps(text, NULL, 0);
    struct pages_range *ranges = calloc(*n + 1, sizeof *ranges);
    if (ranges)
        pages_parse_maps(text, ranges, *n);
    free(text);
    return ranges;
}

static int walk_all(struct walk *walk, const struct pages_range *ranges, size_t n, uint64_t *cursor)
{
    uint64_t from = *cursor;
    for (size_t i = 0; i < n; i++) {
        struct pages_range range = ranges[i];
        if (range.end <= from)
            continue;
        if (range.start < from)
            range.start = from;
        int status = walk_range(walk, &range, cursor);
        if (status)
            return status;
    }
    return flush(walk);
}

static int gone(int error)
{
    return error == ENOENT ? -ESRCH : -error;
}

int walk_pages(int pid, uint64_t *cursor, batch_fn *fn, void *context)
{
    char path[32];
    size_t n;
    struct pages_range *ranges = read_ranges(pid, &n);
    if (!ranges)
        return gone(errno);
    struct walk *walk = malloc(sizeof *walk);
    if (!walk) {
        free(ranges);
        return -ENOMEM;
    }
    *walk = (struct walk){.pid = pid, .page = sysconf(_SC_PAGESIZE), .fn = fn, .context = context};
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    walk->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    int status = walk->pagemap < 0 ? gone(errno) : walk_all(walk, ranges, n, cursor);
    if (walk->pagemap >= 0)
        close(walk->pagemap);
    if (status == 0)
        *cursor = 0;
    free(walk);
    free(ranges);
    return status == 1 ? 0 : status;
}
