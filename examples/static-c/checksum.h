/* The Fletcher-16 checksum. */
#include <stddef.h>
#include <stdint.h>

struct fletcher16 { uint16_t low, high; };

/* Takes `length` more bytes into `sum`, which starts as {0, 0}. */
void fletcher16_add(struct fletcher16 *sum, const uint8_t *bytes, size_t length);

/* The checksum of everything taken so far. */
uint16_t fletcher16_value(const struct fletcher16 *sum);
