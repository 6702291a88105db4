/* Which ranges of a process may be moved: read from /proc/PID/maps (proc(5)). */
#include <stdio.h>
#include <string.h>

#include "pages.h"

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

/* A private mapping of a file may hold anonymous pages, where it was written to: the page table tells (bit 61). */
static int parse_line(const char *line, struct pages_range *range)
{
    unsigned long long start, end;
    char mode[5];
    int name = 0;
    if (sscanf(line, "%llx-%llx %4s %*s %*s %*s %n", &start, &end, mode, &name) != 3 || name == 0)
        return 0;
    if (begins(line + name, "[v") || begins(line + name, "/anon_hugepage"))
        return 0; /* [vdso], [vvar]: the kernel's; huge pages of hugetlb: reserved, not the job's to spread */
    range->start = start;
    range->end = end;
    range->shared = mode[3] == 's';
    return !range->shared || is_shared_memory(line + name);
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
