#include <stdio.h>
#include <string.h>
#include "checksum.h"

/* The values that Wikipedia's article on Fletcher's checksum gives. */
static const struct { const char *text; uint16_t value; } known[] = {
    {"", 0x0000}, {"abcde", 0xC8F0}, {"abcdef", 0x2057}, {"abcdefgh", 0x0627},
};

int main(void) {
    int failed = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct fletcher16 sum = {0, 0};
        fletcher16_add(&sum, (const uint8_t *)known[i].text, strlen(known[i].text));
        uint16_t value = fletcher16_value(&sum);
        if (value != known[i].value) {
            fprintf(stderr, "\"%s\": %04x instead of %04x\n", known[i].text, value, known[i].value);
            failed = 1;
        }
    }
    return failed;
}
