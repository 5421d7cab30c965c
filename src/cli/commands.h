/*
 * The subcommands of parley. Each gets what follows `parley` (argv[0] is its own name) and returns
 * the exit code of the process.
 */
#ifndef PL_CLI_COMMANDS_H
#define PL_CLI_COMMANDS_H

enum {
    PL_EXIT_OK = 0,
    PL_EXIT_FAILED = 1, /* it was tried and did not succeed, or ran into its time limit */
    PL_EXIT_USAGE = 2,  /* wrong arguments or configuration: nothing was tried */
};

int pl_cmd_serve(int argc, char **argv);
int pl_cmd_mles(int argc, char **argv);
int pl_cmd_check(int argc, char **argv);
int pl_cmd_pub(int argc, char **argv);
int pl_cmd_sub(int argc, char **argv);
int pl_cmd_request(int argc, char **argv);
int pl_cmd_reply(int argc, char **argv);
int pl_cmd_call(int argc, char **argv);
int pl_cmd_register(int argc, char **argv);
int pl_cmd_token(int argc, char **argv);
int pl_cmd_store(int argc, char **argv);
int pl_cmd_user(int argc, char **argv);
int pl_cmd_bench(int argc, char **argv);
int pl_cmd_completion(int argc, char **argv);

struct pl_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
    const char *options; /* long options and words, for completion, separated by spaces */
};

/* Ends with a name that is NULL. */
extern const struct pl_command pl_commands[];

#endif
