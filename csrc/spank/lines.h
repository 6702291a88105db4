/* The line protocol's messages (docs/protocol.md): key=value lines and an empty line, values percent-encoded. */
#ifndef TIERWISE_LINES_H
#define TIERWISE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LINES_MAX_MESSAGE = 64 * 1024,
	LINES_MAX_KEYS = 64,
	LINES_MAX_REQUEST = 8 * 1024, /* the longest that we ask: paths of 2048 bytes, each encoded as three, are most of it */
};

/* A request that is being written. Starts as {0}; what doesn't fit is remembered, and lines_close tells. */
struct lines_request {
	char text[LINES_MAX_REQUEST];
	size_t length;
	bool overflow;
};

/* One field of an answer; both point into the message that was decoded. */
struct lines_field {
	const char *key;
	const char *value;
};

/* The fields of an answer, in their order. */
struct lines_answer {
	struct lines_field fields[LINES_MAX_KEYS];
	size_t count;
};

/* Append one field. `key` is a lower-case word of ours, `value` any text: it is percent-encoded. */
void lines_add(struct lines_request *request, const char *key, const char *value);

/* Append one field with a decimal number. */
void lines_add_number(struct lines_request *request, const char *key, uint64_t value);

/* Append the closing empty line. False, with errno EMSGSIZE, if the whole request doesn't fit. */
bool lines_close(struct lines_request *request);

/* Decode `length` bytes of `message`, closing empty line or not, in place: `answer` points into `message`, which must
 * live as long and have room for one byte more than `length`.
 *
 * False, with errno EPROTO, if it is not in the protocol: not ASCII, a line without `=`, a wrong or repeated key, more
 * than LINES_MAX_KEYS lines, a NUL. Values are not checked to be UTF-8: print them only through printable().
 */
bool lines_decode(char *message, size_t length, struct lines_answer *answer);

/* The value of `key`, or "" where the answer has none. */
const char *lines_get(const struct lines_answer *answer, const char *key);

#endif
