/* Which pages were written since we last looked: soft-dirty (Documentation/admin-guide/mm/soft-dirty.rst). Each page
 * costs the process a minor fault at its next write, so who asks chooses how often. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "pages.h"

#define PRESENT (1ULL << 63)
#define SOFT_DIRTY (1ULL << 55)
#define CHUNK 4096

static int open_of(int pid, const char *name, int flags)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int file = open(path, flags | O_CLOEXEC);
    return file < 0 ? (errno == ENOENT ? -ESRCH : -errno) : file;
}

int pages_clean(int pid)
{
    int file = open_of(pid, "clear_refs", O_WRONLY);
    if (file < 0)
        return file;
    int status = write(file, "4", 1) < 0 ? -errno : 0;
    close(file);
    return status;
}

int pages_written(int pid, const uint64_t *starts, const uint64_t *ends, size_t n, uint64_t *present,
                  uint64_t *written)
{
    uint64_t entry[CHUNK], page = sysconf(_SC_PAGESIZE);
    int file = open_of(pid, "pagemap", O_RDONLY), status = 0;
    if (file < 0)
        return file;
    for (size_t i = 0; i < n && !status; i++) {
        present[i] = written[i] = 0;
        for (uint64_t at = starts[i] / page, until = ends[i] / page; at < until;) {
            size_t want = until - at < CHUNK ? until - at : CHUNK;
            ssize_t got = pread(file, entry, want * sizeof *entry, at * sizeof *entry);
            if (got <= 0) {
                status = got < 0 ? -errno : -ESRCH; /* nothing there any more: the process has ended */
                break;
            }
            for (size_t j = 0; j < got / sizeof *entry; j++) {
                present[i] += entry[j] >> 63;
                written[i] += (entry[j] & (PRESENT | SOFT_DIRTY)) == (PRESENT | SOFT_DIRTY);
            }
            at += got / sizeof *entry;
        }
    }
    close(file);
    return status;
}
