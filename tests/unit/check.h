/*
 * The runner of our unit tests: plain C, one executable per file. It brings main.
 *
 *     #include "check.h"
 *
 *     TEST(an_empty_token_is_a_token)
 *     {
 *         CHECK_EQ(count_tokens("a..b"), 3);
 *         CHECK_STR(token_at("a..b", 1), "");
 *     }
 *
 * A test's name is the sentence that it proves. TESTs run in the order of the file. A failed CHECK
 * is printed with its file and line, and the test goes on; REQUIRE leaves the (void) function at
 * once, for what the rest could not stand. CHECKs may be made from threads and helpers.
 *
 * Arguments select tests by a part of their name. A test that made no CHECK fails. The last line is
 * "N passed, N failed".
 */
#ifndef PARLEY_TESTS_CHECK_H
#define PARLEY_TESTS_CHECK_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
};

static struct check_test *check_first;
static struct check_test **check_last = &check_first;
static atomic_ulong check_made;
static atomic_ulong check_failed;

#define TEST(name)                                                                                 \
    static void name(void);                                                                        \
    __attribute__((constructor)) static void check_add_##name(void)                                \
    {                                                                                              \
        static struct check_test entry = {#name, name, NULL};                                      \
        *check_last = &entry;                                                                      \
        check_last = &entry.next;                                                                  \
    }                                                                                              \
    static void name(void)

/* Each of these is also an expression: did it hold? */
#define CHECK(claim) check_that((claim), __FILE__, __LINE__, "%s", #claim)
#define CHECK_EQ(actual, expected)                                                                 \
    check_equal(                                                                                   \
        (long long)(actual), (long long)(expected), __FILE__, __LINE__, #actual " == " #expected)
#define CHECK_STR(actual, expected)                                                                \
    check_text((actual), (expected), __FILE__, __LINE__, #actual " == " #expected)
#define CHECK_BYTES(actual, actual_len, expected, expected_len)                                    \
    check_bytes((actual), (actual_len), (expected), (expected_len), __FILE__, __LINE__,            \
        #actual " == " #expected)

#define REQUIRE(claim)                                                                             \
    do {                                                                                           \
        if (!CHECK(claim))                                                                         \
            return;                                                                                \
    } while (0)

__attribute__((format(printf, 4, 5))) static inline bool check_that(
    bool holds, const char *file, int line, const char *format, ...)
{
    atomic_fetch_add(&check_made, 1);
    if (holds)
        return true;
    atomic_fetch_add(&check_failed, 1);
    va_list args;
    va_start(args, format);
    printf("  %s:%d: ", file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    return false;
}

static inline bool check_equal(
    long long actual, long long expected, const char *file, int line, const char *claim)
{
    return check_that(
        actual == expected, file, line, "%s\n    got %lld, expected %lld", claim, actual, expected);
}

static inline bool check_text(
    const char *actual, const char *expected, const char *file, int line, const char *claim)
{
    bool same = actual && expected ? strcmp(actual, expected) == 0 : actual == expected;
    return check_that(same, file, line, "%s\n    got \"%s\", expected \"%s\"", claim,
        actual ? actual : "(null)", expected ? expected : "(null)");
}

static inline bool check_bytes(const void *actual, size_t actual_len, const void *expected,
    size_t expected_len, const char *file, int line, const char *claim)
{
    bool same = actual_len == expected_len &&
                (actual_len == 0 || memcmp(actual, expected, actual_len) == 0);
    if (check_that(same, file, line, "%s", claim))
        return true;
    const void *both[] = {actual, expected};
    size_t lens[] = {actual_len, expected_len};
    for (int i = 0; i < 2; i++) {
        printf("    %s %zu bytes:", i == 0 ? "got" : "expected", lens[i]);
        for (size_t j = 0; j < lens[i] && j < 256; j++)
            printf(" %02x", ((const unsigned char *)both[i])[j]);
        printf("%s\n", lens[i] > 256 ? " …" : "");
    }
    return false;
}

static inline bool check_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strstr(name, argv[i]))
            return true;
    }
    return argc < 2;
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;
    for (struct check_test *test = check_first; test; test = test->next) {
        if (!check_wanted(test->name, argc, argv))
            continue;
        unsigned long made = atomic_load(&check_made), failures = atomic_load(&check_failed);
        test->run();
        if (atomic_load(&check_made) == made)
            check_that(false, test->name, 0, "made no CHECK");
        bool ok = atomic_load(&check_failed) == failures;
        ok ? passed++ : failed++;
        printf("%s %s\n", ok ? "ok  " : "FAIL", test->name);
        fflush(stdout); /* So that a crash in the next one is not blamed on this one. */
    }
    if (passed + failed == 0) {
        printf("no such test\n");
        failed = 1;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}

#endif
