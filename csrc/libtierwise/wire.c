#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 2 };

void wire_path(char *path, size_t size)
{
	const char *given = secure_getenv("TIERWISE_SOCKET"), *node = secure_getenv("SLURMD_NODENAME");
	char host[256] = "";

	if (given && *given) {
		snprintf(path, size, "%s", given);
		return;
	}
	if (!node || !*node) {
		gethostname(host, sizeof host - 1);
		host[strcspn(host, ".")] = '\0';
		node = host;
	}
	snprintf(path, size, "/run/tierwise/agent-%s.sock", node);
}

int wire_dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = PATIENCE_S};

	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0)
		return -1;
	setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(connection, (const struct sockaddr *)&address, sizeof address) == 0)
		return connection;
	int error = errno;
	close(connection);
	errno = error;
	return -1;
}

static bool transmit(int connection, const struct lines_request *request)
{
	for (size_t sent = 0; sent < request->length;) {
		ssize_t more = send(connection, request->text + sent, request->length - sent, MSG_NOSIGNAL);

		if (more < 0 && errno != EINTR)
			return false;
		sent += more > 0 ? (size_t)more : 0;
	}
	return true;
}

static void drop_descriptor(struct answer *answer)
{
	if (answer->descriptor >= 0)
		close(answer->descriptor);
	answer->descriptor = -1;
}

/* Receive once; a descriptor that comes along is kept in the answer. */
static ssize_t receive_some(int connection, struct answer *answer, char *to, size_t room)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec into = {.iov_base = to, .iov_len = room};
	struct msghdr message = {
		.msg_iov = &into, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		drop_descriptor(answer);
		memcpy(&answer->descriptor, CMSG_DATA(header), sizeof answer->descriptor);
	}
	return got;
}

static bool receive(int connection, struct answer *answer)
{
	size_t length = 0;

	while (length < 2 || memcmp(answer->bytes + length - 2, "\n\n", 2) != 0) {
		ssize_t got = receive_some(connection, answer, answer->bytes + length, MAX_ANSWER - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			if (got == 0)
				errno = length == MAX_ANSWER ? EMSGSIZE : ECONNRESET;
			return false;
		}
		length += (size_t)got;
	}
	return lines_decode(answer->bytes, length, &answer->lines);
}

bool wire_ask(int connection, const struct lines_request *request, struct answer *answer)
{
	answer->descriptor = -1;
	answer->lines.count = 0;
	if (transmit(connection, request) && receive(connection, answer))
		return true;
	int error = errno == EAGAIN ? ETIMEDOUT : errno; /* what SO_RCVTIMEO and SO_SNDTIMEO say */
	drop_descriptor(answer);
	errno = error;
	return false;
}
