/* One line on standard error. */
#ifndef TIERWISE_SAY_H
#define TIERWISE_SAY_H

/* Say a printf(3) format with its values, behind our name and with a line's end. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif
