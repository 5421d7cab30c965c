/*
 * Gives a fuzz target every file of the folders and files named as arguments, so that a corpus is a
 * plain test in builds without libFuzzer. No input at all is a failure: a test of nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* libFuzzer calls it if the target has one. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static unsigned long inputs;

static int fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 1;
}

static int replay_file(const char *path, size_t size)
{
    /* Exactly as large as the input: a read past its end is one past the allocation. */
    uint8_t *data = malloc(size ? size : 1);
    FILE *file = fopen(path, "rb");
    int failed = 1;
    if (!data || !file || fread(data, 1, size, file) != size) {
        fail(path);
        goto done;
    }
    LLVMFuzzerTestOneInput(data, size);
    inputs++;
    failed = 0;
done:
    if (file)
        fclose(file);
    free(data);
    return failed;
}

static int replay(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return fail(path);
    if (!S_ISDIR(info.st_mode))
        return replay_file(path, (size_t)info.st_size);

    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return fail(path);
    int failed = 0;
    for (int i = 0; i < count; i++) {
        char child[4096];
        int len = snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            failed |= len >= (int)sizeof child || replay(child);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    printf("%lu inputs replayed\n", inputs);
    return failed || inputs == 0;
}
