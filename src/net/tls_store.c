#include "net/tls_store.h"

#include <gnutls/x509.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "net/tls_state.h"

enum { CHAIN_MAX = 16, NAMES_MAX = 1000, KEY_ID_MAX = 64 };

struct pl_tls_set {
    atomic_uint refs;
    struct {
        struct pl_tls_certificate **items; /* owned array; one reference each */
        size_t count;
    } slots[PL_TLS_SLOTS];
};

struct pl_tls_store {
    pthread_mutex_t lock; /* guards set */
    struct pl_tls_set *set;
};

/* ---- A certificate ---- */

struct pl_tls_certificate *pl_tls_certificate_ref(struct pl_tls_certificate *certificate)
{
    atomic_fetch_add_explicit(&certificate->refs, 1, memory_order_relaxed);
    return certificate;
}

struct pl_tls_certificate *pl_tls_certificate_unref(struct pl_tls_certificate *certificate)
{
    if (!certificate || atomic_fetch_sub_explicit(&certificate->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (unsigned i = 0; i < certificate->chain_ready; i++)
        gnutls_pcert_deinit(&certificate->chain[i]);
    for (size_t i = 0; i < certificate->name_count; i++)
        pl_free(certificate->names[i]);
    if (certificate->key)
        gnutls_privkey_deinit(certificate->key);
    pl_free(certificate->names);
    pl_free(certificate->chain);
    pl_free(certificate);
    return NULL;
}

uint64_t pl_tls_certificate_starts_unix_ms(const struct pl_tls_certificate *certificate)
{
    return certificate->starts_unix_ms;
}

uint64_t pl_tls_certificate_expires_unix_ms(const struct pl_tls_certificate *certificate)
{
    return certificate->expires_unix_ms;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static enum pl_err add_name(struct pl_tls_certificate *certificate, const char *name, size_t len)
{
    char *copy = pl_alloc_copy(name, len);
    if (!copy)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < len; i++)
        copy[i] = (char)lower((uint8_t)copy[i]);
    certificate->names[certificate->name_count++] = copy;
    return PL_OK;
}

static enum pl_err take_names(struct pl_tls_certificate *certificate, gnutls_x509_crt_t leaf)
{
    unsigned count = 0;
    char name[PL_TLS_NAME_MAX + 1];
    for (;; count++) {
        size_t len = sizeof name;
        int code = gnutls_x509_crt_get_subject_alt_name(leaf, count, name, &len, NULL);
        if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || count == NAMES_MAX)
            break;
    }
    certificate->names = pl_zalloc((count + 1) * sizeof(char *));
    if (!certificate->names)
        return PL_NO_MEMORY;
    for (unsigned i = 0; i < count; i++) {
        size_t len = sizeof name;
        /* What is longer than a name can be is none. */
        if (gnutls_x509_crt_get_subject_alt_name(leaf, i, name, &len, NULL) == GNUTLS_SAN_DNSNAME &&
            add_name(certificate, name, strnlen(name, len)) != PL_OK)
            return PL_NO_MEMORY;
    }
    return PL_OK;
}

static bool belong_together(gnutls_x509_crt_t leaf, gnutls_x509_privkey_t key)
{
    unsigned char of_leaf[KEY_ID_MAX], of_key[KEY_ID_MAX];
    size_t leaf_len = sizeof of_leaf, key_len = sizeof of_key;
    return gnutls_x509_crt_get_key_id(leaf, GNUTLS_KEYID_USE_SHA256, of_leaf, &leaf_len) >= 0 &&
           gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len) >= 0 &&
           leaf_len == key_len && memcmp(of_leaf, of_key, leaf_len) == 0;
}

static uint64_t unix_ms(time_t seconds)
{
    return seconds > 0 ? (uint64_t)seconds * 1000 : 1;
}

/* key: moved into the certificate. */
static enum pl_err fill(struct pl_tls_certificate *certificate, gnutls_x509_crt_t *chain,
    unsigned chain_len, gnutls_x509_privkey_t key, struct pl_diag *diag)
{
    certificate->chain = pl_zalloc(chain_len * sizeof *certificate->chain);
    certificate->chain_len = chain_len;
    if (!certificate->chain || gnutls_privkey_init(&certificate->key) < 0) {
        gnutls_x509_privkey_deinit(key);
        return PL_NO_MEMORY;
    }
    int code =
        gnutls_privkey_import_x509(certificate->key, key, GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE);
    if (code < 0)
        gnutls_x509_privkey_deinit(key);
    for (; code >= 0 && certificate->chain_ready < chain_len; certificate->chain_ready++) {
        unsigned i = certificate->chain_ready;
        code = gnutls_pcert_import_x509(&certificate->chain[i], chain[i], 0);
        if (code < 0)
            break;
    }
    if (code < 0) {
        pl_diag_set(diag, code, "the certificate cannot be used: %s", gnutls_strerror(code));
        return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_CONFIG;
    }
    certificate->starts_unix_ms = unix_ms(gnutls_x509_crt_get_activation_time(chain[0]));
    certificate->expires_unix_ms = unix_ms(gnutls_x509_crt_get_expiration_time(chain[0]));
    return take_names(certificate, chain[0]);
}

/* What texts are called in an error. */
struct origins {
    const char *chain, *key;
};

static enum pl_err parse(struct pl_bytes chain_text, struct pl_bytes key_text,
    const struct origins *from, struct pl_tls_certificate **out, struct pl_diag *diag)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned chain_len = 0;
    gnutls_x509_privkey_t key = NULL;
    struct pl_tls_certificate *certificate = NULL;
    enum pl_err err = PL_CONFIG;
    const gnutls_datum_t chain_datum = {
        (unsigned char *)(uintptr_t)chain_text.data, (unsigned)chain_text.len};
    const gnutls_datum_t key_datum = {
        (unsigned char *)(uintptr_t)key_text.data, (unsigned)key_text.len};
    int code =
        gnutls_x509_crt_list_import2(&chain, &chain_len, &chain_datum, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0)
        chain_len = 0;
    if (code < 0 || chain_len > CHAIN_MAX) {
        pl_diag_set(diag, code, "%s holds no PEM certificates that can be used: %s", from->chain,
            code < 0 ? gnutls_strerror(code) : "too many");
        goto done;
    }
    if (gnutls_x509_privkey_init(&key) < 0) {
        err = PL_NO_MEMORY;
        goto done;
    }
    code =
        gnutls_x509_privkey_import2(key, &key_datum, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
    if (code < 0) {
        pl_diag_set(diag, code, "%s holds no PEM key without password: %s", from->key,
            gnutls_strerror(code));
        goto done;
    }
    if (!belong_together(chain[0], key)) {
        pl_diag_set(diag, 0, "the key %s and the certificate %s do not belong together", from->key,
            from->chain);
        goto done;
    }
    certificate = pl_zalloc(sizeof *certificate);
    err = PL_NO_MEMORY;
    if (!certificate)
        goto done;
    atomic_init(&certificate->refs, 1);
    err = fill(certificate, chain, chain_len, key, diag);
    key = NULL;
    if (!err) {
        *out = certificate;
        certificate = NULL;
    }
done:
    pl_tls_certificate_unref(certificate);
    for (unsigned i = 0; i < chain_len; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return err;
}

enum pl_err pl_tls_certificate_parse(struct pl_bytes chain, struct pl_bytes key,
    struct pl_tls_certificate **out, struct pl_diag *diag)
{
    static const struct origins texts = {"the chain", "the text"};
    return parse(chain, key, &texts, out, diag);
}

static enum pl_err read_file(const char *path, gnutls_datum_t *out, struct pl_diag *diag)
{
    int code = gnutls_load_file(path, out);
    if (code >= 0 && out->size <= PL_TLS_PEM_MAX)
        return PL_OK;
    pl_diag_set(diag, code, code < 0 ? "cannot read %s" : "%s is too large", path);
    return code == GNUTLS_E_MEMORY_ERROR ? PL_NO_MEMORY : PL_IO;
}

enum pl_err pl_tls_certificate_read(const char *cert_file, const char *key_file,
    struct pl_tls_certificate **out, struct pl_diag *diag)
{
    const struct origins files = {cert_file, key_file};
    gnutls_datum_t chain = {0}, key = {0};
    enum pl_err err = read_file(cert_file, &chain, diag);
    if (!err)
        err = read_file(key_file, &key, diag);
    if (!err)
        err = parse(pl_bytes_of(chain.data, chain.size), pl_bytes_of(key.data, key.size), &files,
            out, diag);
    if (key.data)
        gnutls_memset(key.data, 0, key.size);
    gnutls_free(key.data);
    gnutls_free(chain.data);
    return err;
}

/* ---- Names ---- */

static bool has_name(const struct pl_tls_certificate *certificate, struct pl_bytes name)
{
    for (size_t i = 0; i < certificate->name_count; i++) {
        if (pl_bytes_equal_nocase(pl_bytes_text(certificate->names[i]), name))
            return true;
    }
    return false;
}

/* `*` stands for one label, the first (RFC 6125, section 6.4.3). */
static bool has_wildcard(const struct pl_tls_certificate *certificate, struct pl_bytes name)
{
    const uint8_t *dot = name.len ? memchr(name.data, '.', name.len) : NULL;
    if (!dot || dot == name.data)
        return false;
    struct pl_bytes rest = pl_bytes_from(name, (size_t)(dot - name.data));
    for (size_t i = 0; i < certificate->name_count; i++) {
        struct pl_bytes pattern = pl_bytes_text(certificate->names[i]);
        if (pattern.len > 2 && pattern.data[0] == '*' &&
            pl_bytes_equal_nocase(pl_bytes_from(pattern, 1), rest))
            return true;
    }
    return false;
}

bool pl_tls_certificate_covers(const struct pl_tls_certificate *certificate, struct pl_bytes name)
{
    return has_name(certificate, name) || has_wildcard(certificate, name);
}

/* ---- Sets ---- */

void pl_tls_set_unref(struct pl_tls_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t s = 0; s < PL_TLS_SLOTS; s++) {
        for (size_t i = 0; i < set->slots[s].count; i++)
            pl_tls_certificate_unref(set->slots[s].items[i]);
        pl_free(set->slots[s].items);
    }
    pl_free(set);
}

static enum pl_err fill_slot(struct pl_tls_set *set, size_t slot,
    struct pl_tls_certificate *const *certificates, size_t count)
{
    set->slots[slot].items = pl_alloc((count + 1) * sizeof(struct pl_tls_certificate *));
    if (!set->slots[slot].items)
        return PL_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        set->slots[slot].items[i] = pl_tls_certificate_ref(certificates[i]);
    set->slots[slot].count = count;
    return PL_OK;
}

bool pl_tls_set_has_challenge(const struct pl_tls_set *set)
{
    return set->slots[PL_TLS_CHALLENGE].count > 0;
}

struct pl_tls_certificate *pl_tls_set_find_challenge(
    const struct pl_tls_set *set, struct pl_bytes name)
{
    for (size_t i = 0; i < set->slots[PL_TLS_CHALLENGE].count; i++) {
        if (has_name(set->slots[PL_TLS_CHALLENGE].items[i], name))
            return set->slots[PL_TLS_CHALLENGE].items[i];
    }
    return NULL;
}

static bool is_of_kind(const struct pl_tls_certificate *certificate,
    const gnutls_pk_algorithm_t *kinds, int kind_count)
{
    int kind = gnutls_privkey_get_pk_algorithm(certificate->key, NULL);
    for (int i = 0; i < kind_count; i++) {
        if ((int)kinds[i] == kind)
            return true;
    }
    return kind_count == 0;
}

struct wish {
    struct pl_bytes name;
    const gnutls_pk_algorithm_t *kinds;
    int kind_count;
};

/* Of the slot's certificates for which `fits` holds (NULL: all of them) the first of a kind that is
 * wanted; *rest: the first of any kind. */
static struct pl_tls_certificate *look(const struct pl_tls_set *set, enum pl_tls_slot slot,
    bool (*fits)(const struct pl_tls_certificate *, struct pl_bytes), const struct wish *wish,
    struct pl_tls_certificate **rest)
{
    for (size_t i = 0; i < set->slots[slot].count; i++) {
        struct pl_tls_certificate *certificate = set->slots[slot].items[i];
        if (fits && !fits(certificate, wish->name))
            continue;
        if (is_of_kind(certificate, wish->kinds, wish->kind_count))
            return certificate;
        if (!*rest)
            *rest = certificate;
    }
    return NULL;
}

struct pl_tls_certificate *pl_tls_set_find(const struct pl_tls_set *set, struct pl_bytes name,
    const gnutls_pk_algorithm_t *kinds, int kind_count)
{
    static const enum pl_tls_slot by_name[] = {PL_TLS_ACME, PL_TLS_CONFIGURED, PL_TLS_FALLBACK};
    static const enum pl_tls_slot by_default[] = {PL_TLS_CONFIGURED, PL_TLS_ACME, PL_TLS_FALLBACK};
    const struct wish wish = {name, kinds, kind_count};
    struct pl_tls_certificate *found = NULL, *rest = NULL;
    for (size_t i = 0; i < 3 && !found && name.len; i++)
        found = look(set, by_name[i], has_name, &wish, &rest);
    for (size_t i = 0; i < 3 && !found && name.len; i++)
        found = look(set, by_name[i], has_wildcard, &wish, &rest);
    if (!found && rest)
        return rest;
    for (size_t i = 0; i < 3 && !found; i++)
        found = look(set, by_default[i], NULL, &wish, &rest);
    return found ? found : rest;
}

/* ---- The store ---- */

struct pl_tls_store *pl_tls_store_new(void)
{
    struct pl_tls_store *store = pl_zalloc(sizeof *store);
    struct pl_tls_set *set = pl_zalloc(sizeof *set);
    if (!store || !set) {
        pl_free(store);
        pl_free(set);
        return NULL;
    }
    atomic_init(&set->refs, 1);
    store->set = set;
    pthread_mutex_init(&store->lock, NULL);
    return store;
}

struct pl_tls_store *pl_tls_store_free(struct pl_tls_store *store)
{
    if (store) {
        pl_tls_set_unref(store->set);
        pthread_mutex_destroy(&store->lock);
        pl_free(store);
    }
    return NULL;
}

struct pl_tls_set *pl_tls_store_ref(struct pl_tls_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct pl_tls_set *set = store->set;
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&store->lock);
    return set;
}

enum pl_err pl_tls_store_set(struct pl_tls_store *store, enum pl_tls_slot slot,
    struct pl_tls_certificate *const *certificates, size_t count)
{
    struct pl_tls_set *fresh = pl_zalloc(sizeof *fresh);
    if (!fresh)
        return PL_NO_MEMORY;
    atomic_init(&fresh->refs, 1);
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&store->lock);
    struct pl_tls_set *before = store->set;
    for (size_t s = 0; s < PL_TLS_SLOTS && !err; s++) {
        bool is_new = s == (size_t)slot;
        err = fill_slot(fresh, s, is_new ? certificates : before->slots[s].items,
            is_new ? count : before->slots[s].count);
    }
    if (!err)
        store->set = fresh;
    pthread_mutex_unlock(&store->lock);
    pl_tls_set_unref(err ? fresh : before);
    return err;
}

uint64_t pl_tls_store_expires_unix_ms(struct pl_tls_store *store)
{
    struct pl_tls_set *set = pl_tls_store_ref(store);
    const struct pl_tls_certificate *shown = pl_tls_set_find(set, PL_NO_BYTES, NULL, 0);
    uint64_t expires = shown ? shown->expires_unix_ms : 0;
    pl_tls_set_unref(set);
    return expires;
}
