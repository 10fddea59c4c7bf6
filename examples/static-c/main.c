/* checksum: prints the Fletcher-16 checksum of what comes in on standard input. */
#include <stdio.h>
#include "checksum.h"

int main(void) {
    struct fletcher16 sum = {0, 0};
    uint8_t buffer[4096];
    size_t length;
    while ((length = fread(buffer, 1, sizeof buffer, stdin)) > 0)
        fletcher16_add(&sum, buffer, length);
    printf("%04x\n", fletcher16_value(&sum));
    return ferror(stdin) ? 1 : 0;
}
