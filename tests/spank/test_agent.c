/* agent_ask() against listeners that behave, and others that don't. */
#define _GNU_SOURCE
#include "agent.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char folder[] = "/tmp/tierwise-agent-XXXXXX";
static char path[64];

static int listen_here(int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(path);
	strcpy(address.sun_path, path);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, backlog) == 0);
	return fd;
}

/* A listener in a child that reads a whole request and sends `answer` in pieces of `piece` bytes; -1: it reads and
 * sends nothing until the other side leaves; 0: it closes at once, unread. */
static pid_t serve(const char *answer, size_t length, int piece)
{
	int listener = listen_here(8);
	pid_t child = fork();

	if (child != 0) {
		close(listener);
		return child;
	}
	int fd = accept(listener, NULL, NULL);
	char buffer[64];
	if (piece != 0 && read(fd, buffer, sizeof buffer) <= 0)
		_exit(1);
	for (size_t sent = 0; piece > 0 && sent < length; sent += (size_t)piece) {
		size_t left = length - sent;
		if (send(fd, answer + sent, left < (size_t)piece ? left : (size_t)piece, MSG_NOSIGNAL) < 0)
			_exit(0);
	}
	if (piece == -1)
		_exit(read(fd, buffer, sizeof buffer) == 0 ? 0 : 1);
	_exit(0);
}

static ssize_t ask(char *answer, size_t size, int deadline_ms)
{
	errno = 0;
	return agent_ask(path, "op=x\n\n", 6, answer, size, deadline_ms);
}

static void ends(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void whole_answers(void)
{
	static const char said[] = "status=ok\nnodes=0\n\n";
	const ssize_t length = sizeof said - 1;
	char answer[sizeof said - 1];

	for (int piece = 1; piece <= length; piece++) {
		pid_t child = serve(said, (size_t)length, piece);
		CHECK(ask(answer, sizeof answer, 10000) == length && memcmp(answer, said, (size_t)length) == 0);
		ends(child);
	}
}

static void broken_answers(void)
{
	char answer[16];

	pid_t child = serve("status=ok\n", 10, 10);
	CHECK(ask(answer, sizeof answer, 10000) == -1 && errno == EPROTO);
	ends(child);
	child = serve("status=ok\nnodes=0\n\n", 19, 19);
	CHECK(ask(answer, sizeof answer, 10000) == -1 && errno == EMSGSIZE);
	ends(child);
	child = serve("", 0, -1);
	CHECK(ask(answer, sizeof answer, 50) == -1 && errno == ETIMEDOUT);
	ends(child);
	child = serve("", 0, 0); /* closed unread: EPROTO, ECONNRESET or EPIPE, as it comes; never SIGPIPE */
	CHECK(ask(answer, sizeof answer, 10000) == -1 && errno != ETIMEDOUT);
	ends(child);
}

static void nobody(void)
{
	char answer[16], long_path[200];

	unlink(path);
	CHECK(ask(answer, sizeof answer, 10000) == -1 && errno == ENOENT);
	close(listen_here(1));
	CHECK(ask(answer, sizeof answer, 10000) == -1 && errno == ECONNREFUSED);
	memset(long_path, 'a', sizeof long_path);
	long_path[sizeof long_path - 1] = '\0';
	CHECK(agent_ask(long_path, "\n", 1, answer, sizeof answer, 10000) == -1 && errno == ENAMETOOLONG);
}

/* A stopped agent: its queue of connections is full, and connect(2) itself would block. */
static void full_queue(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = listen_here(0), waiting[8];
	char answer[16];
	int n = 0;

	strcpy(address.sun_path, path);
	do {
		waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	} while (connect(waiting[n++], (struct sockaddr *)&address, sizeof address) == 0 && n < 8);
	CHECK(n < 8);
	CHECK(ask(answer, sizeof answer, 50) == -1 && errno == ETIMEDOUT);
	while (n > 0)
		close(waiting[--n]);
	close(listener);
}

static void on_alarm(int number)
{
	(void)number;
}

/* Signals that interrupt every call change neither the answer nor the deadline. */
static void interrupted(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
	char answer[16];

	sigaction(SIGALRM, &action, NULL);
	pid_t child = serve("", 0, -1);
	setitimer(ITIMER_REAL, &often, NULL);
	CHECK(ask(answer, sizeof answer, 50) == -1 && errno == ETIMEDOUT);
	setitimer(ITIMER_REAL, &never, NULL);
	ends(child);
}

int main(void)
{
	CHECK(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/sock", folder);
	int before = dup(0);
	whole_answers();
	broken_answers();
	nobody();
	full_queue();
	interrupted();
	CHECK(dup(0) == before + 1); /* no descriptor was left open */
	unlink(path);
	rmdir(folder);
	return 0;
}
