/* A folder for one test program's files, and texts in and out of it. */
#ifndef PARLEY_TESTS_AUTH_FILES_H
#define PARLEY_TESTS_AUTH_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char files_folder[64];

__attribute__((destructor)) static void files_remove(void)
{
    char command[128];
    if (!files_folder[0])
        return;
    snprintf(command, sizeof(command), "rm -rf %s", files_folder);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", files_folder);
}

/* The path of a file in the folder; of a few at a time. */
static inline const char *file_path(const char *name)
{
    static char paths[8][160];
    static unsigned next;
    if (!files_folder[0]) {
        strcpy(files_folder, "/tmp/parley-auth-XXXXXX");
        if (!mkdtemp(files_folder))
            abort();
    }
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", files_folder, name);
    return path;
}

static inline const char *file_write_bytes(const char *name, const void *bytes, size_t len)
{
    const char *path = file_path(name);
    FILE *file = fopen(path, "w");
    if (!file || fwrite(bytes, 1, len, file) != len || fclose(file) != 0 || chmod(path, 0600) != 0)
        abort();
    return path;
}

static inline const char *file_write(const char *name, const char *text)
{
    return file_write_bytes(name, text, strlen(text));
}

/* Its text; the static buffer of the last call. */
static inline const char *file_text(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = 0;
    fclose(file);
    return text;
}

#endif
