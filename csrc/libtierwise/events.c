/* Events: the agent writes them as messages into a pipe whose other end it gave us. */
#define _GNU_SOURCE
#include "internal.h"

#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_EVENT = 512 }; /* less than PIPE_BUF: a message comes whole, and the pipe is in packet mode */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int pipe_end = -1;
static pid_t owner; /* a forked child asks for a pipe of its own */

static bool has_ended(void)
{
	struct pollfd state = {.fd = pipe_end};

	return owner != getpid() || (poll(&state, 1, 0) > 0 && state.revents & (POLLHUP | POLLERR));
}

int tierwise_events(void)
{
	pthread_mutex_lock(&lock);
	if (pipe_end >= 0 && has_ended()) {
		close(pipe_end);
		pipe_end = -1;
	}
	if (pipe_end < 0) {
		pipe_end = session_events();
		owner = getpid();
	}
	int descriptor = pipe_end;
	pthread_mutex_unlock(&lock);
	return descriptor;
}

static bool parse(char *message, size_t length, struct tierwise_event *event)
{
	struct lines_answer lines;

	if (!lines_decode(message, length, &lines) || strlen(lines_get(&lines, "tier")) >= TIER_NAME)
		return false;
	strcpy(event->tier, lines_get(&lines, "tier"));
	event->bytes = strtoull(lines_get(&lines, "bytes"), NULL, 10);
	return true;
}

int tierwise_next_event(struct tierwise_event *event)
{
	char message[MAX_EVENT + 1];
	ssize_t length;

	int descriptor = tierwise_events();
	if (descriptor < 0)
		return -1;
	while ((length = read(descriptor, message, MAX_EVENT)) > 0 || (length < 0 && errno == EINTR))
		if (length > 0 && parse(message, (size_t)length, event))
			return 1;
	return 0;
}

void events_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

void events_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}
