/* Fuzzes the C that reads what others wrote (libFuzzer): answers in lines, the library's lists in them, directives,
 * tierwise-exec's command lines and binds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "commandline.h"
#include "directive.h"
#include "internal.h"
#include "lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *copy_of(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

static void read_lines(const uint8_t *data, size_t size)
{
	char *message = copy_of(data, size);
	struct lines_answer answer;
	struct lines_request request = {.length = 0};

	if (lines_decode(message, size, &answer)) {
		for (size_t i = 0; i < answer.count; i++)
			lines_add(&request, answer.fields[i].key, answer.fields[i].value);
		if (lines_close(&request)) { /* what was decoded and encoded again decodes to as many fields */
			struct lines_answer again;
			char *text = copy_of((const uint8_t *)request.text, request.length);

			if (!lines_decode(text, request.length, &again) || again.count != answer.count)
				abort();
			free(text);
		}
	}
	free(message);
}

static void read_lists(const uint8_t *data, size_t size)
{
	char *text = copy_of(data, size);
	struct tier tiers[MAX_TIERS];
	struct grant grant;
	unsigned count;

	parse_tiers(text, tiers, &count);
	free(text);
	text = copy_of(data, size);
	if (parse_parts(text, &grant) && grant.count > MAX_TIERS)
		abort();
	free(text);
}

static void read_directive(const uint8_t *data, size_t size)
{
	char canonical[DIRECTIVE_CANONICAL_SIZE], again[DIRECTIVE_CANONICAL_SIZE];
	struct directive_error error;
	char *text = malloc(size ? size : 1); /* no closing NUL */

	if (!text)
		abort();
	memcpy(text, data, size);
	if (directive_parse(text, size, canonical, &error) &&
	    (!directive_parse(canonical, strlen(canonical), again, &error) || strcmp(canonical, again) != 0))
		abort();
	free(text);
}

/* The lines of the input are arguments, and its whole is what the agent says of binds. */
static void read_commandline(const uint8_t *data, size_t size)
{
	enum { MOST = 64 };
	char *text = copy_of(data, size), *binds = copy_of(data, size), *arguments[MOST + 1] = {NULL}, *rest;
	struct commandline found;
	int count = 0;

	for (char *word = strtok_r(text, "\n", &rest); word && count < MOST; word = strtok_r(NULL, "\n", &rest))
		arguments[count++] = word;
	if (commandline_read(arguments, &found)) {
		char **staged = arguments_staged(arguments, found.image, "/copy", binds);
		int more = 0;

		while (staged && staged[count + more])
			more++;
		if (found.image >= count || !staged || more % 2 || strcmp(staged[found.image + more], "/copy") != 0)
			abort();
		free(staged);
	}
	free(binds);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_lines(data, size);
	read_commandline(data, size);
	read_lists(data, size);
	read_directive(data, size);
	return 0;
}
