#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Let the next call block at most until `deadline` (microseconds). SO_SNDTIMEO bounds connect(2) of a unix socket too:
 * it waits while the listener's queue is full. */
static bool bound(int fd, int option, int64_t deadline)
{
	int64_t left = deadline - now_us();

	if (left <= 0) {
		errno = ETIMEDOUT;
		return false;
	}
	struct timeval timeout = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};
	return setsockopt(fd, SOL_SOCKET, option, &timeout, sizeof timeout) == 0;
}

/* Whether to try the call again that has just failed. A time-out says EAGAIN: the next bound() names it ETIMEDOUT. */
static bool again(void)
{
	return errno == EINTR || errno == EAGAIN;
}

static bool connect_within(int fd, const struct sockaddr_un *address, int64_t deadline)
{
	do {
		if (!bound(fd, SO_SNDTIMEO, deadline))
			return false;
		if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
			return true;
	} while (again());
	return false;
}

static bool send_within(int fd, const char *request, size_t length, int64_t deadline)
{
	while (length > 0) {
		if (!bound(fd, SO_SNDTIMEO, deadline))
			return false;
		ssize_t sent = send(fd, request, length, MSG_NOSIGNAL);
		if (sent < 0 && !again())
			return false;
		if (sent > 0) {
			request += sent;
			length -= (size_t)sent;
		}
	}
	return true;
}

static ssize_t receive_within(int fd, char *answer, size_t size, int64_t deadline)
{
	size_t length = 0;

	while (length < 2 || memcmp(answer + length - 2, "\n\n", 2) != 0) {
		if (length == size) {
			errno = EMSGSIZE;
			return -1;
		}
		if (!bound(fd, SO_RCVTIMEO, deadline))
			return -1;
		ssize_t got = recv(fd, answer + length, size - length, 0);
		if (got == 0)
			errno = EPROTO;
		if (got == 0 || (got < 0 && !again()))
			return -1;
		if (got > 0)
			length += (size_t)got;
	}
	return (ssize_t)length;
}

ssize_t agent_ask(const char *path, const char *request, size_t length, char *answer, size_t size, int deadline_ms)
{
	int64_t deadline = now_us() + (int64_t)deadline_ms * 1000;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	ssize_t received = -1;
	if (connect_within(fd, &address, deadline) && send_within(fd, request, length, deadline))
		received = receive_within(fd, answer, size, deadline);
	int error = errno;
	close(fd);
	errno = error;
	return received;
}
