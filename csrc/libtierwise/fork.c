/* fork(2) in a program with threads: the child finds every lock free and every list whole. */
#include "internal.h"

#include <pthread.h>

static void before(void)
{
	arena_before_fork();
	mapping_before_fork();
	region_before_fork();
	hint_before_fork();
	events_before_fork();
	session_before_fork();
}

static void after(bool child)
{
	session_after_fork(child);
	events_after_fork();
	hint_after_fork();
	region_after_fork();
	mapping_after_fork();
	arena_after_fork();
}

static void in_parent(void)
{
	after(false);
}

static void in_child(void)
{
	after(true);
}

__attribute__((constructor)) static void prepare(void)
{
	pthread_atfork(before, in_parent, in_child);
}
