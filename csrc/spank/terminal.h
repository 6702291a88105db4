/* A refusal in the terminal of whoever submits. */
#ifndef TIERWISE_TERMINAL_H
#define TIERWISE_TERMINAL_H

/* Say in one line why `argument` of --`option` is refused (`item` of it, from 1; 0: the whole), and exit where the
 * program only submits. Else return what the option's callback must: an error.
 *
 * If a callback returned an error, Slurm would print a second line with the whole argument, a megabyte or control
 * characters included, and then exit: where that is all it would do, we exit instead.
 */
int terminal_refuse(const char *option, const char *argument, unsigned item, const char *reason);

#endif
