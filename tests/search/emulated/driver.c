/* Runs every kernel on its job until it finds nothing more, and prints each return:
   K<kernel> <found> <row> <lane>, in hex. KERNELS.h lists them; OUTPUT says where to. */
#include "kernels.h"

#ifdef BARE_METAL
static void put(char letter) { __asm__ volatile("outb %0, $0xe9" ::"a"(letter)); }
#else
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
static void put(char letter) { putchar(letter); }
#endif

static void put_hex(unsigned long long value) {
    char digits[17];
    int count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    while (count) put(digits[--count]);
}

void run(void) {
    for (int kernel = 0; kernel < KERNELS; kernel++) {
        char *job = (char *)jobs[kernel];
        unsigned long long *row = (void *)(job + ROW_OFFSET), *lane = (void *)(job + LANE_OFFSET);
        for (int found = 1; found; *lane += batches[kernel]) {
            found = scans[kernel](job);
            put('K');
            put_hex(kernel);
            put(' ');
            put_hex(found);
            put(' ');
            put_hex(*row);
            put(' ');
            put_hex(*lane);
            put('\n');
        }
    }
}

#ifdef BARE_METAL
__attribute__((section(".start"))) void start(void) { run(); }
#else
int main(int count, char **arguments) {
    int file = open(arguments[1], O_RDONLY);
    int flags = MAP_PRIVATE | MAP_FIXED;
    if (mmap((void *)MEMORY, MEMORY_SIZE, PROT_READ | PROT_WRITE, flags, file, 0) == MAP_FAILED)
        return 1;
    run();
    return 0;
}
#endif
