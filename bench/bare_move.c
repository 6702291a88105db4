/* The bare loop that the page engine is measured against: moves pages of a process to a node by move_pages(2) in the
 * same batches, and prints the nanoseconds that took.
 * Usage: bare_move PID START END NODE, addresses in hexadecimal. */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH 2048
#define PAGE 4096

int main(int argc, char **argv)
{
    static void *address[BATCH];
    static int node[BATCH], status[BATCH];
    if (argc != 5)
        return 2;
    int pid = atoi(argv[1]), target = atoi(argv[4]);
    uintptr_t at = strtoull(argv[2], NULL, 16), end = strtoull(argv[3], NULL, 16);
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    while (at < end) {
        size_t n = 0;
        for (; n < BATCH && at < end; n++, at += PAGE) {
            address[n] = (void *)at;
            node[n] = target;
        }
        if (syscall(SYS_move_pages, pid, n, address, node, status, MPOL_MF_MOVE) != 0)
            return 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%lld\n", (ended.tv_sec - begun.tv_sec) * 1000000000LL + ended.tv_nsec - begun.tv_nsec);
    return 0;
}
