/*
 * How the test clients in C are driven: a command is a line of words on stdin, its answer a line on
 * stdout, "ok …" or "error …". What arrives is a line "message <name> <reply> <data>". Names and
 * data are hex, "-" if empty.
 */
#ifndef PARLEY_TESTS_LINES_H
#define PARLEY_TESTS_LINES_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 8

struct word {
    char *text; /* decoded, with a NUL after it */
    int len;
};

/* Messages come on the library's thread. */
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...)
{
    pthread_mutex_lock(&output);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

static inline void say_hex(const void *data, int len)
{
    const unsigned char *at = data;
    printf(len ? " " : " -");
    for (int i = 0; i < len; i++)
        printf("%02x", at[i]);
}

static inline void say_message(
    const char *name, const char *reply, const void *data, int len, const char *more)
{
    pthread_mutex_lock(&output);
    printf("message");
    say_hex(name, (int)strlen(name));
    say_hex(reply ? reply : "", reply ? (int)strlen(reply) : 0);
    say_hex(data, len);
    printf("%s\n", more);
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

static inline void unhex(struct word *word)
{
    int len = 0;
    unsigned byte;
    for (char *at = word->text; sscanf(at, "%2x", &byte) == 1; at += 2)
        word->text[len++] = (char)byte;
    word->text[len] = 0;
    word->len = len;
}

/* Reads a command; words[0] is the verb, the others are decoded. 0 at the end of input. */
static inline int read_command(char *line, int size, struct word words[WORDS_MAX])
{
    int count = 0;
    memset(words, 0, WORDS_MAX * sizeof *words);
    if (!fgets(line, size, stdin))
        return 0;
    char *rest = line;
    for (char *at; count < WORDS_MAX && (at = strtok_r(rest, " \n", &rest)); count++) {
        words[count].text = at;
        if (count)
            unhex(&words[count]);
    }
    for (int i = count; i < WORDS_MAX; i++)
        words[i].text = &line[size - 1]; /* "" */
    return 1;
}

#endif
