/* Keeps accessed bits honest on the CPU that it runs on. QEMU's translation cache is far larger than a real one, and a
 * page that it holds gets no accessed bit again: DAMON, reclaim and everyone else would see a busy page as idle. A
 * change of the process empties it, so this one runs for a moment every 4 ms. */
#include <time.h>

int main(void)
{
    const struct timespec pause = {.tv_nsec = 4000000};
    for (;;)
        nanosleep(&pause, 0);
}
