/* What others wrote, made fit for a terminal and a log. */
#ifndef TIERWISE_PRINTABLE_H
#define TIERWISE_PRINTABLE_H

enum {
	PRINTABLE_SHORT = 64 + 1, /* an echo of what a user typed */
	PRINTABLE_LONG = 256 + 1, /* a reason that the agent gives */
};

/* Copy `text` into `out` of `size` bytes (at least 4), with `?` for each byte that is not printable ASCII, and `...`
 * at its end where it was too long. Returns `out`. */
const char *printable(char *out, unsigned size, const char *text);

#endif
