/*
 * The certificate of the first start: good for trying things out on this machine, and for clients
 * that are shown its file.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "net/tls.h"

enum { DAY = 86400, VALID_DAYS = 3650 };

static const char own_name[] = "Parley, self-signed";

static bool exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

/* Whole or not at all: written beside its place, then moved there. */
static enum pl_err write_file(
    const char *path, gnutls_datum_t text, mode_t mode, struct pl_diag *diag)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) {
        pl_diag_set(diag, 0, "the path is too long: %s", path);
        return PL_CONFIG;
    }
    (void)unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    size_t done = 0;
    bool ok = fd >= 0;
    while (ok && done < text.size) {
        ssize_t n = write(fd, text.data + done, text.size - done);
        ok = n > 0 || (n < 0 && errno == EINTR);
        done += n > 0 ? (size_t)n : 0;
    }
    ok = ok && fsync(fd) == 0;
    int number = errno;
    if (fd >= 0 && close(fd) != 0 && ok) {
        number = errno;
        ok = false;
    }
    if (ok && rename(beside, path) != 0) {
        number = errno;
        ok = false;
    }
    if (ok)
        return PL_OK;
    (void)unlink(beside);
    pl_diag_set(diag, number, "cannot write %s: %s", path, strerror(number));
    return PL_IO;
}

static int fill(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
    static const unsigned char v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
    unsigned char serial[16], key_id[20];
    size_t key_id_len = sizeof key_id;
    time_t now = time(NULL);
    int code = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] &= 0x7f; /* a positive number … */
    serial[0] |= 0x40; /* … of full length */
#define STEP(call) code = code < 0 ? code : (call)
    STEP(gnutls_x509_crt_set_version(cert, 3));
    STEP(gnutls_x509_crt_set_serial(cert, serial, sizeof serial));
    STEP(gnutls_x509_crt_set_dn_by_oid(
        cert, GNUTLS_OID_X520_COMMON_NAME, 0, own_name, sizeof own_name - 1));
    /* Clocks differ a little. */
    STEP(gnutls_x509_crt_set_activation_time(cert, now - DAY));
    STEP(gnutls_x509_crt_set_expiration_time(cert, now + (time_t)VALID_DAYS * DAY));
    STEP(gnutls_x509_crt_set_subject_alt_name(
        cert, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET));
    STEP(gnutls_x509_crt_set_subject_alt_name(
        cert, GNUTLS_SAN_IPADDRESS, v4, sizeof v4, GNUTLS_FSAN_APPEND));
    STEP(gnutls_x509_crt_set_subject_alt_name(
        cert, GNUTLS_SAN_IPADDRESS, v6, sizeof v6, GNUTLS_FSAN_APPEND));
    STEP(gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE));
    STEP(gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0));
    STEP(gnutls_x509_crt_set_basic_constraints(cert, 0, -1));
    STEP(gnutls_x509_crt_set_key(cert, key));
    STEP(gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA1, key_id, &key_id_len));
    STEP(gnutls_x509_crt_set_subject_key_id(cert, key_id, key_id_len));
    STEP(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0));
#undef STEP
    return code;
}

enum pl_err pl_tls_make_self_signed(
    const char *cert_file, const char *key_file, struct pl_diag *diag)
{
    bool has_cert = exists(cert_file), has_key = exists(key_file);
    if (has_cert && has_key)
        return PL_OK;
    if (has_cert || has_key) {
        pl_diag_set(diag, 0, "%s is there, but %s is not", has_cert ? cert_file : key_file,
            has_cert ? key_file : cert_file);
        return PL_CONFIG;
    }
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t cert = NULL;
    gnutls_datum_t key_text = {0}, cert_text = {0};
    enum pl_err err = PL_NO_MEMORY;
    if (gnutls_x509_privkey_init(&key) < 0 || gnutls_x509_crt_init(&cert) < 0)
        goto done;
    int code = gnutls_x509_privkey_generate(
        key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (code >= 0)
        code = fill(cert, key);
    if (code >= 0)
        code = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_text);
    if (code >= 0)
        code = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_text);
    if (code < 0) {
        pl_diag_set(diag, code, "cannot make a certificate: %s", gnutls_strerror(code));
        err = PL_IO;
        goto done;
    }
    err = pl_file_make_folders(cert_file, diag);
    if (!err)
        err = pl_file_make_folders(key_file, diag);
    if (!err)
        err = write_file(key_file, key_text, 0600, diag);
    if (!err)
        err = write_file(cert_file, cert_text, 0644, diag);
    if (err)
        (void)unlink(key_file); /* alone it would be in the way of the next attempt */
done:
    if (key_text.data)
        gnutls_memset(key_text.data, 0, key_text.size);
    gnutls_free(key_text.data);
    gnutls_free(cert_text.data);
    if (cert)
        gnutls_x509_crt_deinit(cert);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return err;
}
