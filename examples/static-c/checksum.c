#include "checksum.h"

void fletcher16_add(struct fletcher16 *sum, const uint8_t *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        sum->low = (sum->low + bytes[i]) % 255;
        sum->high = (sum->high + sum->low) % 255;
    }
}

uint16_t fletcher16_value(const struct fletcher16 *sum) {
    return (uint16_t)(sum->high << 8 | sum->low);
}
