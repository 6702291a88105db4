/* The grammar of --tier: one of two parsers, the other is library/tierwise/directive.py.
 *
 * CLASS[:SIZE][,CLASS[:SIZE]...], or `auto` or `off` alone. CLASS is lat, bw, cap or shl in either case; SIZE is per
 * node, bytes with K/M/G/T, or a percentage of the job's memory there; one class may leave it out and takes the rest.
 * tests/directive_cases.tsv holds the cases that both parsers must pass, with the same answer.
 */
#ifndef TIERWISE_DIRECTIVE_H
#define TIERWISE_DIRECTIVE_H

#include <stdbool.h>
#include <stddef.h>

enum {
	DIRECTIVE_MAX_LENGTH = 128,
	/* "lat:9223372036854775807," for each of four classes; the last comma's place holds the NUL. */
	DIRECTIVE_CANONICAL_SIZE = 4 * 24,
};

/* Why a directive was refused. */
struct directive_error {
	const char *code;   /* one of the codes in tests/directive_cases.tsv; static */
	const char *reason; /* for people; static */
	unsigned item;      /* the offending item, counted from 1; 0: the whole */
};

/* Parse what stands after --tier=: `length` bytes at `text`, which need no closing NUL.
 *
 * True: `canonical` holds the directive in lower case, sizes in bytes. False: `error` says why, `canonical` is
 * undefined. Both belong to the caller. Allocates nothing, sets no errno.
 */
bool directive_parse(const char *text, size_t length, char canonical[DIRECTIVE_CANONICAL_SIZE],
		     struct directive_error *error);

#endif
