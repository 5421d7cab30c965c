#include <pthread.h>
#include <string.h>

#include "acme/acme.h"
#include "base/alloc.h"

struct token {
    struct token *next;
    size_t token_len, len;
    char text[PL_ACME_ANSWER_MAX];
};

struct pl_acme_tokens {
    pthread_mutex_t lock;
    struct token *first; /* owned; few: an order's names */
};

struct pl_acme_tokens *pl_acme_tokens_new(void)
{
    struct pl_acme_tokens *tokens = pl_zalloc(sizeof *tokens);
    if (tokens)
        pthread_mutex_init(&tokens->lock, NULL);
    return tokens;
}

struct pl_acme_tokens *pl_acme_tokens_free(struct pl_acme_tokens *tokens)
{
    if (tokens) {
        pl_acme_tokens_clear(tokens);
        pthread_mutex_destroy(&tokens->lock);
        pl_free(tokens);
    }
    return NULL;
}

enum pl_err pl_acme_tokens_add(struct pl_acme_tokens *tokens, const char *text)
{
    const char *dot = strchr(text, '.');
    if (!dot || strlen(text) >= PL_ACME_ANSWER_MAX)
        return PL_TOO_LARGE;
    struct token *token = pl_zalloc(sizeof *token);
    if (!token)
        return PL_NO_MEMORY;
    token->token_len = (size_t)(dot - text);
    token->len = strlen(text);
    memcpy(token->text, text, token->len);
    pthread_mutex_lock(&tokens->lock);
    token->next = tokens->first;
    tokens->first = token;
    pthread_mutex_unlock(&tokens->lock);
    return PL_OK;
}

void pl_acme_tokens_clear(struct pl_acme_tokens *tokens)
{
    pthread_mutex_lock(&tokens->lock);
    struct token *token = tokens->first;
    tokens->first = NULL;
    pthread_mutex_unlock(&tokens->lock);
    while (token) {
        struct token *next = token->next;
        pl_free(token);
        token = next;
    }
}

size_t pl_acme_tokens_find(
    struct pl_acme_tokens *tokens, struct pl_bytes path, char out[PL_ACME_ANSWER_MAX])
{
    struct pl_bytes prefix = PL_BYTES(PL_ACME_HTTP_PATH);
    size_t len = 0;
    if (!pl_bytes_starts(path, prefix))
        return 0;
    struct pl_bytes asked = pl_bytes_from(path, prefix.len);
    pthread_mutex_lock(&tokens->lock);
    for (const struct token *t = tokens->first; t && !len; t = t->next) {
        if (pl_bytes_equal(asked, pl_bytes_of(t->text, t->token_len))) {
            memcpy(out, t->text, t->len);
            len = t->len;
        }
    }
    pthread_mutex_unlock(&tokens->lock);
    return len;
}
