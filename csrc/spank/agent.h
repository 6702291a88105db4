/* One question to the agent of this node, over its unix socket (docs/protocol.md). */
#ifndef TIERWISE_AGENT_H
#define TIERWISE_AGENT_H

#include <stddef.h>
#include <sys/types.h>

/* Send the `length` bytes of `request` to the socket at `path` and receive one message into `answer` (at most `size`
 * bytes, no NUL is added), all within `deadline_ms` milliseconds.
 *
 * Returns the answer's length, its closing empty line included. -1 with errno: ETIMEDOUT (too late), EMSGSIZE (longer
 * than `size`), EPROTO (closed before its answer was whole), ENAMETOOLONG (no socket can have this path), or what
 * socket(2), connect(2), send(2) or recv(2) said: ENOENT and ECONNREFUSED mean that no agent runs.
 * Raises no signal, leaves no descriptor behind, and none to a program that is executed meanwhile.
 */
ssize_t agent_ask(const char *path, const char *request, size_t length, char *answer, size_t size, int deadline_ms);

#endif
