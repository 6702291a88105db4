/* 100,000 small allocations, written to and freed again, by malloc and by libtierwise: nanoseconds a piece, the least
 * of so many rounds. Each round of either side is a process of its own, so that both pay for fresh pages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tierwise.h>
#include <time.h>
#include <unistd.h>

enum { PIECES = 100000 };

static void *from_tier(size_t size)
{
	return tierwise_alloc(size, TIERWISE_CAP);
}

static double round_of(void *(*allocate)(size_t), void (*give)(void *))
{
	static char *pieces[PIECES];
	struct timespec begun, done;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (unsigned i = 0; i < PIECES; i++) {
		pieces[i] = allocate(16 + i * 7919 % 497);
		pieces[i][0] = 1;
	}
	for (unsigned i = 0; i < PIECES; i++)
		give(pieces[i]);
	clock_gettime(CLOCK_MONOTONIC, &done);
	return ((double)(done.tv_sec - begun.tv_sec) * 1e9 + (double)(done.tv_nsec - begun.tv_nsec)) / PIECES;
}

static double in_child(void *(*allocate)(size_t), void (*give)(void *))
{
	double found = 0;
	int ends[2];

	if (pipe(ends) != 0)
		exit(1);
	if (fork() == 0) {
		found = round_of(allocate, give);
		_exit(write(ends[1], &found, sizeof found) == sizeof found ? 0 : 1);
	}
	if (read(ends[0], &found, sizeof found) != sizeof found)
		exit(1);
	close(ends[0]);
	close(ends[1]);
	wait(NULL);
	return found;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 20;
	double ours = 1e18, theirs = 1e18;

	for (int i = 0; i < rounds; i++) { /* in turn, so that a busy moment hits both */
		double one = in_child(malloc, free), other = in_child(from_tier, tierwise_free);

		theirs = one < theirs ? one : theirs;
		ours = other < ours ? other : ours;
	}
	printf("{\"malloc_ns\": %.2f, \"tierwise_ns\": %.2f}\n", theirs, ours);
	return 0;
}
