/* libtiermark.so: the marks as functions that a guest's program calls, through ctypes for instance. Needs no libc. */
#include "marks.h"

#define MARK(kind) __asm__ volatile("nopl 0x74696500 + %c0(%%rax,%%rax,1)" ::"i"(kind) : "memory")

/* The clock starts counting: all of the guest. */
void tier_clock_on(void)
{
    MARK(MARK_ON);
}

/* The clock stops. The guest stays slower than before it first ran. */
void tier_clock_off(void)
{
    MARK(MARK_OFF);
}

/* On this CPU, what is measured begins. */
void tier_begin(void)
{
    MARK(MARK_BEGIN);
}

/* On this CPU, what was measured ends. */
void tier_end(void)
{
    MARK(MARK_END);
}
