/* The wall clock in milliseconds since the epoch, by the cheapest read that is good to the millisecond or so. */
#ifndef KRAFKA_CLOCK_H
#define KRAFKA_CLOCK_H

#include <stdint.h>

#ifdef _WIN32
#include <windows.h>

static int64_t krafka_wall_clock_ms(void) {
    FILETIME now;
    ULARGE_INTEGER ticks;
    GetSystemTimeAsFileTime(&now);
    ticks.LowPart = now.dwLowDateTime;
    ticks.HighPart = now.dwHighDateTime;
    return (int64_t)(ticks.QuadPart / 10000) - INT64_C(11644473600000);
}
#else
#include <time.h>

static int64_t krafka_wall_clock_ms(void) {
    struct timespec now;
#ifdef CLOCK_REALTIME_COARSE
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
#else
    clock_gettime(CLOCK_REALTIME, &now);
#endif
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
#endif

#endif
