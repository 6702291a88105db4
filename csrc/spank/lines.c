#include "lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_KEY = 32 };

static void append(struct lines_request *request, const char *text, size_t length)
{
	if (request->overflow || length > sizeof request->text - request->length) {
		request->overflow = true;
		return;
	}
	memcpy(request->text + request->length, text, length);
	request->length += length;
}

static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void lines_add(struct lines_request *request, const char *key, const char *value)
{
	append(request, key, strlen(key));
	append(request, "=", 1);
	for (; *value; value++) {
		if (is_alphanumeric(*value) || strchr("-._~:,/@+ ", *value)) {
			append(request, value, 1);
		} else {
			char encoded[4];

			snprintf(encoded, sizeof encoded, "%%%02X", (unsigned char)*value);
			append(request, encoded, 3);
		}
	}
	append(request, "\n", 1);
}

void lines_add_number(struct lines_request *request, const char *key, uint64_t value)
{
	char digits[21];

	snprintf(digits, sizeof digits, "%" PRIu64, value);
	lines_add(request, key, digits);
}

bool lines_close(struct lines_request *request)
{
	append(request, "\n", 1);
	if (request->overflow)
		errno = EMSGSIZE;
	return !request->overflow;
}

static bool is_key(const char *key)
{
	size_t length = strlen(key);

	if (length == 0 || length > MAX_KEY || key[0] < 'a' || key[0] > 'z')
		return false;
	for (; *key; key++)
		if (!(*key >= 'a' && *key <= 'z') && !(*key >= '0' && *key <= '9') && *key != '_')
			return false;
	return true;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decode in place; a `%` without two hex digits stays as it is, like Python's unquote. False: it holds %00. */
static bool decode_value(char *value)
{
	char *to = value;

	while (*value) {
		int high = *value == '%' ? hex(value[1]) : -1;
		int low = high < 0 ? -1 : hex(value[2]);

		if (low < 0) {
			*to++ = *value++;
			continue;
		}
		if (high == 0 && low == 0)
			return false;
		*to++ = (char)(high << 4 | low);
		value += 3;
	}
	*to = '\0';
	return true;
}

static bool has_key(const struct lines_answer *answer, const char *key)
{
	for (size_t i = 0; i < answer->count; i++)
		if (strcmp(answer->fields[i].key, key) == 0)
			return true;
	return false;
}

static bool decode_line(char *line, struct lines_answer *answer)
{
	char *equals = strchr(line, '=');

	if (!equals || answer->count == LINES_MAX_KEYS)
		return false;
	*equals = '\0';
	if (!is_key(line) || has_key(answer, line) || !decode_value(equals + 1))
		return false;
	answer->fields[answer->count++] = (struct lines_field){line, equals + 1};
	return true;
}

static bool is_ascii(const char *message, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (message[i] == '\0' || (unsigned char)message[i] > 127)
			return false;
	return true;
}

bool lines_decode(char *message, size_t length, struct lines_answer *answer)
{
	answer->count = 0;
	errno = EPROTO;
	if (length > LINES_MAX_MESSAGE || !is_ascii(message, length))
		return false;
	while (length > 0 && message[length - 1] == '\n')
		length--;
	message[length] = '\0';
	for (char *line = message; line;) {
		char *end = strchr(line, '\n');

		if (end)
			*end++ = '\0';
		if (!decode_line(line, answer))
			return false;
		line = end;
	}
	return true;
}

const char *lines_get(const struct lines_answer *answer, const char *key)
{
	for (size_t i = 0; i < answer->count; i++)
		if (strcmp(answer->fields[i].key, key) == 0)
			return answer->fields[i].value;
	return "";
}
