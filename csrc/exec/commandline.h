/* Apptainer's and Singularity's command line: where the image stands in it.
 *
 * Both use pflag: `--name=value`, `--name value` for options that have one, `-xvalue`, `-x value`, and flags without a
 * value that may stand together (`-ce`). What stands behind the image belongs to the program inside. */
#ifndef TIERWISE_COMMANDLINE_H
#define TIERWISE_COMMANDLINE_H

#include <stdbool.h>

struct commandline {
	int image;     /* its place among the arguments */
	bool writable; /* it is to be changed, so it can be no copy */
};

/* Read `arguments`, with a NULL behind the last and without the runtime's own name before the first. False: another
 * subcommand than exec, run and shell, or no image. */
bool commandline_read(char *const arguments[], struct commandline *found);

#endif
