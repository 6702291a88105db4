/* Which ranges of a process may be moved: read from /proc/PID/maps (proc(5)). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "walk.h"

#define MOST_MAPS (64U << 20) /* bytes of /proc/PID/maps that we read at most */

/* Names that shared memory has in maps, whatever directory it was opened by. A file on another tmpfs can't be told
 * from one on a disk here, and stays where it is. */
static const char *const shared_memory[] = {"/dev/zero (deleted)", "/dev/shm/", "/memfd:", "/SYSV"};

static int begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static int is_shared_memory(const char *name)
{
    for (size_t i = 0; i < sizeof shared_memory / sizeof *shared_memory; i++)
        if (begins(name, shared_memory[i]))
            return 1;
    return 0;
}

/* `55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1234      /usr/bin/thing`: the name comes after five words. A private
 * mapping of a file may hold anonymous pages, where it was written to: the page table tells (bit 61). */
static int parse_line(const char *line, struct pages_range *range)
{
    char *at;
    range->start = strtoull(line, &at, 16);
    if (at == line || *at != '-')
        return 0;
    range->end = strtoull(at + 1, &at, 16);
    if (*at != ' ' || strlen(at) < 6)
        return 0;
    range->shared = at[4] == 's';
    const char *name = at;
    for (int word = 0; word < 4; word++) {
        name += strspn(name, " ");
        name += strcspn(name, " ");
    }
    name += strspn(name, " ");
    if (begins(name, "[v") || begins(name, "/anon_hugepage"))
        return 0; /* [vdso], [vvar]: the kernel's; huge pages of hugetlb: reserved, not the job's to spread */
    return !range->shared || is_shared_memory(name);
}

size_t pages_parse_maps(const char *text, struct pages_range *ranges, size_t room)
{
    size_t found = 0;
    char line[512]; /* what matters of a line is at its beginning */
    while (*text) {
        size_t length = strcspn(text, "\n");
        size_t kept = length < sizeof line - 1 ? length : sizeof line - 1;
        struct pages_range range;
        memcpy(line, text, kept);
        line[kept] = 0;
        if (parse_line(line, &range)) {
            if (found < room)
                ranges[found] = range;
            found++;
        }
        text += length + (text[length] == '\n');
    }
    return found;
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

struct pages_range *movable_ranges(int pid, size_t *n)
{
    char *text = read_maps(pid);
    if (!text)
        return NULL;
    size_t lines = 1;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    struct pages_range *ranges = calloc(lines, sizeof *ranges);
    if (ranges)
        *n = pages_parse_maps(text, ranges, lines);
    free(text);
    return ranges;
}

long pages_movable(int pid, uint64_t *starts, uint64_t *ends, size_t room)
{
    size_t n;
    struct pages_range *ranges = movable_ranges(pid, &n);
    if (!ranges)
        return errno == ENOENT ? -ESRCH : -errno;
    for (size_t i = 0; i < n && i < room; i++) {
        starts[i] = ranges[i].start;
        ends[i] = ranges[i].end;
    }
    free(ranges);
    return (long)n;
}
