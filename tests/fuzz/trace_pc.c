/* Gives libFuzzer the coverage of C that GCC compiled: GCC calls a function at each branch, libFuzzer wants counters. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SITES (1 << 14)
#define TEXT_BYTES (1 << 21)

typedef struct {
    uintptr_t address;
    uintptr_t flags;
} Site;

static uint8_t counters[SITES];
static Site sites[SITES];
static uint16_t site_at[TEXT_BYTES]; /* by offset in the module, 0 while not met */
static unsigned sites_met;
static uintptr_t base;

__attribute__((visibility("hidden"), no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void)
{
    uintptr_t offset = (uintptr_t) __builtin_return_address(0) - base;
    unsigned site;
    if (offset >= TEXT_BYTES)
        return;
    site = site_at[offset];
    if (!site) {
        if (sites_met + 1 >= SITES)
            return;
        site = site_at[offset] = ++sites_met;
    }
    if (counters[site] != 255)
        counters[site]++;
}

/* GCC tells of comparisons of floating-point numbers too, for which libFuzzer has no use. */
__attribute__((visibility("hidden"))) void __sanitizer_cov_trace_cmpf(float left, float right) { (void) left, (void) right; }
__attribute__((visibility("hidden"))) void __sanitizer_cov_trace_cmpd(double left, double right) { (void) left, (void) right; }

__attribute__((constructor, no_sanitize_coverage)) static void announce(void)
{
    Dl_info module;
    void (*counters_init)(uint8_t *, uint8_t *) = dlsym(RTLD_DEFAULT, "__sanitizer_cov_8bit_counters_init");
    void (*pcs_init)(const Site *, const Site *) = dlsym(RTLD_DEFAULT, "__sanitizer_cov_pcs_init");
    if (!dladdr((void *) announce, &module) || !counters_init || !pcs_init) {
        fputs("libFuzzer is not there: preload one of atheris's *_with_fuzzer.so\n", stderr);
        abort();
    }
    base = (uintptr_t) module.dli_fbase;
    for (unsigned site = 0; site < SITES; site++)
        sites[site].address = base + site;
    counters_init(counters, counters + SITES);
    pcs_init(sites, sites + SITES);
}
