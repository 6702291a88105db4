/* directive_parse() as a program: reads (32-bit length, bytes) again and again, answers a line for each:
 * `ok<TAB>canonical` or `code<TAB>item<TAB>reason`. A length beyond 16 MiB ends it with 2. */
#include "directive.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	uint32_t length;

	while (fread(&length, sizeof length, 1, stdin) == 1) {
		char canonical[DIRECTIVE_CANONICAL_SIZE];
		struct directive_error error;

		if (length > 16 << 20)
			return 2;
		char *text = malloc(length); /* of exactly this size, so that the sanitizer sees a byte too far */
		if (fread(text, 1, length, stdin) != length)
			return 2;
		if (directive_parse(text, length, canonical, &error))
			printf("ok\t%s\n", canonical);
		else
			printf("%s\t%u\t%s\n", error.code, error.item, error.reason);
		fflush(stdout);
		free(text);
	}
	return 0;
}
