/* How a guest speaks to the clock: by executing a no-op that holds these bytes, the last of which says what.
 * On a machine without the clock it is just a no-op. */
#ifndef TIERCLOCK_MARKS_H
#define TIERCLOCK_MARKS_H

enum { MARK_ON = 'n', MARK_OFF = 'f', MARK_BEGIN = 'b', MARK_END = 'e' };

/* nopl disp32(%rax,%rax,1): 0f 1f 84 00, then `kind`, 'e', 'i', 't' */
#define MARK_OPCODE "\x0f\x1f\x84\x00"
#define MARK_TAIL "eit"
enum { MARK_SIZE = 8 };

#endif
