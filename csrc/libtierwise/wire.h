/* A connection to the node's agent: a question in, its answer out, with the descriptor that may come along (unix(7)). */
#ifndef TIERWISE_WIRE_H
#define TIERWISE_WIRE_H

#include "lines.h"

enum { MAX_ANSWER = 8 * 1024 };

/* An answer's fields, the bytes that they point into, and the descriptor that came with it, else -1. */
struct answer {
	struct lines_answer lines;
	char bytes[MAX_ANSWER + 1];
	int descriptor;
};

/* Where the agent listens: $TIERWISE_SOCKET, else at its usual place for this node. */
void wire_path(char *path, size_t size);

/* A connection to the agent at `path`, or -1 with errno. */
int wire_dial(const char *path);

/* Ask. False, with errno and no descriptor, if there is no answer in time; the connection is of no use then. */
bool wire_ask(int connection, const struct lines_request *request, struct answer *answer);

#endif
