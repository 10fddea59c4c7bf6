/* Distance.between(a, b): how many bytes have to be inserted, removed or replaced to get from a to b (Levenshtein). */
#include <ruby.h>

static long least(long a, long b) { return a < b ? a : b; }

static VALUE between(VALUE self, VALUE from, VALUE to) {
    const char *a = StringValuePtr(from), *b = StringValuePtr(to);
    long rows = RSTRING_LEN(from), columns = RSTRING_LEN(to);
    VALUE memory;
    long *row = ALLOCV_N(long, memory, columns + 1);
    for (long j = 0; j <= columns; j++)
        row[j] = j;
    for (long i = 1; i <= rows; i++) {
        long diagonal = row[0];
        row[0] = i;
        for (long j = 1; j <= columns; j++) {
            long replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    VALUE distance = LONG2NUM(row[columns]);
    ALLOCV_END(memory);
    return distance;
}

void Init_distance(void) {
    rb_define_module_function(rb_define_module("Distance"), "between", between, 2);
}
