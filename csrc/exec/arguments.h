/* The runtime's arguments as they are to be: with the copy for its image, and with what is to be seen inside. */
#ifndef TIERWISE_ARGUMENTS_H
#define TIERWISE_ARGUMENTS_H

/* The arguments with `copy` at the place `image` (an empty `copy`: what stands there), and with --bind options before
 * it: for the job's scratch and its folder of links, as the environment says, and for each COPY:SOURCE of `binds`,
 * which has a comma between two: the copy is seen under both names.
 *
 * Returns a list with a NULL behind its last word. free() ends the list and its new words; the others are the caller's
 * and must live as long. NULL, with errno ENOMEM. */
char **arguments_staged(char *const arguments[], int image, const char *copy, const char *binds);

#endif
