/* The users file: what it may hold, how it is refused, how it is changed. */
#include "check.h"

#include "auth/users.h"
#include "base/alloc.h"
#include "files.h"

/* Of the password "secret", as cheap as argon2id can be. */
#define HASH                                                                                       \
    "$argon2id$v=19$m=8,t=1,p=1$wknNX2G+1/"                                                        \
    "CTiWsGjNRsww$0kUPVp1JvuYYzZIPDIS0kqT2FXrmbfY7JZWKytpc2ig"

static struct pl_diag diag;

static enum pl_err parse(const char *text, struct pl_users **out)
{
    diag = (struct pl_diag){0};
    return pl_users_parse(pl_bytes_text(text), "users", &diag, out);
}

/* The text is refused, with this line and reason. */
static bool is_refused(const char *text, const char *why)
{
    struct pl_users *users = NULL;
    enum pl_err err = parse(text, &users);
    pl_users_free(users);
    bool ok = err == PL_CONFIG && strstr(diag.text, why);
    if (!ok)
        printf("    %d %s\n", err, diag.text);
    return ok;
}

TEST(users_are_found_by_name_with_role_and_attributes)
{
    struct pl_users *users;
    REQUIRE(parse("# people\n"
                  "\n"
                  "  bob device " HASH "\n"
                  "ann\t\tadmin " HASH " realm=plant  user_id=17 \n"
                  "   # the last has no line end\n"
                  "aa:bb:cc:dd d\xc3\xa9vice " HASH,
                &users) == PL_OK);
    CHECK_EQ(pl_users_count(users), 3);
    const struct pl_user *bob = pl_users_find(users, PL_BYTES("bob"));
    REQUIRE(bob);
    CHECK(pl_bytes_equal(bob->role, PL_BYTES("device")));
    CHECK_STR(bob->hash, HASH);
    CHECK_EQ(bob->attribute_count, 0);
    CHECK_EQ(bob->line, 3);
    const struct pl_user *ann = pl_users_find(users, PL_BYTES("ann"));
    REQUIRE(ann);
    REQUIRE(ann->attribute_count == 2);
    CHECK(pl_bytes_equal(ann->attributes[0].name, PL_BYTES("realm")));
    CHECK(pl_bytes_equal(ann->attributes[0].value, PL_BYTES("plant")));
    CHECK(pl_bytes_equal(ann->attributes[1].value, PL_BYTES("17")));
    CHECK(pl_users_find(users, PL_BYTES("aa:bb:cc:dd")) == pl_users_at(users, 2));
    CHECK(!pl_users_find(users, PL_BYTES("bo")));
    CHECK(!pl_users_find(users, PL_NO_BYTES));
    CHECK(!pl_users_find(NULL, PL_BYTES("bob")));
    pl_users_free(users);
}

#define KEY "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"

TEST(a_user_may_have_several_secrets_and_no_password)
{
    struct pl_users *users;
    const struct pl_secret *secret;
    REQUIRE(parse("bob device " HASH " $wampcra$c2VjcmV0 site=a\n"
                  "robot device $cryptosign$" KEY " $tls$name\n",
                &users) == PL_OK);
    const struct pl_user *bob = pl_users_find(users, PL_BYTES("bob"));
    const struct pl_user *robot = pl_users_find(users, PL_BYTES("robot"));
    REQUIRE(bob && robot);
    CHECK_STR(bob->hash, HASH);
    REQUIRE((secret = pl_user_secret(bob, PL_SECRET_CRA)));
    CHECK(pl_bytes_equal(secret->key, PL_BYTES("secret")));
    CHECK_EQ(bob->attribute_count, 1);
    CHECK(!robot->hash);
    CHECK_EQ(robot->secret_count, 2);
    secret = pl_user_secret(robot, PL_SECRET_KEY);
    REQUIRE(secret);
    CHECK(pl_users_find_key(users, PL_SECRET_KEY, secret->bytes, &secret) == robot);
    CHECK(!pl_users_find_key(users, PL_SECRET_CERTIFICATE, secret->bytes, &secret));
    CHECK(pl_users_example(users, PL_SECRET_CRA) == pl_user_secret(bob, PL_SECRET_CRA));
    CHECK(!pl_users_example(users, PL_SECRET_SCRAM));
    pl_users_free(users);
    CHECK(is_refused("bob a $wampcra$c2VjcmV0 $wampcra$c2VjcmV0\n", "two secrets of the same"));
    CHECK(
        is_refused("bob a $cryptosign$" KEY "\nann a $cryptosign$" KEY "\n", "users:2: this key"));
    CHECK(is_refused("bob a x=1 $wampcra$c2VjcmV0\n", "expected an argon2id hash, or another"));
    CHECK(is_refused("bob a " HASH " x=1 $wampcra$c2VjcmV0\n", "expected key=value"));
}

TEST(an_empty_file_is_a_table_without_users)
{
    struct pl_users *users;
    REQUIRE(parse("", &users) == PL_OK);
    CHECK_EQ(pl_users_count(users), 0);
    pl_users_free(users);
}

TEST(the_first_line_that_does_not_fit_refuses_the_file_and_is_named)
{
    CHECK(is_refused("bob device " HASH "\nann\n", "users:2: expected a role"));
    CHECK(is_refused("bob device\n", "users:1: expected an argon2id hash"));
    CHECK(is_refused("bob device secret\n", "expected an argon2id hash"));
    CHECK(is_refused("bob  " HASH "\n", "expected an argon2id hash"));
    CHECK(is_refused("bob device " HASH " x\n", "expected key=value"));
    CHECK(is_refused("bob device " HASH " =x\n", "attribute's name"));
    CHECK(is_refused("bob device " HASH " a.b=x\n", "attribute's name"));
    CHECK(is_refused("bob device " HASH " x=\n", "attribute's value"));
    CHECK(is_refused("bob device " HASH " x=1 x=2\n", "same attribute twice"));
    CHECK(is_refused("bob a " HASH "\nann a " HASH "\nbob b " HASH "\n", "users:3: this user"));
    CHECK(is_refused("bob device " HASH "\r\n", "users:1:"));
    CHECK(is_refused("b\x01"
                     "b device " HASH "\n",
        "users:1: a name"));
    CHECK(is_refused("b\xff"
                     "b device " HASH "\n",
        "users:1: a name"));
    CHECK(is_refused("bob r\x7f"
                     "x " HASH "\n",
        "expected a role"));
}

TEST(a_zero_byte_ends_nothing)
{
    static const char text[] = "bob device\0x " HASH "\n";
    struct pl_users *users = NULL;
    CHECK_EQ(
        pl_users_parse(pl_bytes_of(text, sizeof(text) - 1), "users", &diag, &users), PL_CONFIG);
    static const char hash[] = "bob device " HASH "\0\n";
    CHECK_EQ(
        pl_users_parse(pl_bytes_of(hash, sizeof(hash) - 1), "users", &diag, &users), PL_CONFIG);
}

TEST(only_whole_argon2id_hashes_of_bearable_cost_are_taken)
{
    static const char *const bad[] = {
        "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=16$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=08,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=7,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=1048577,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=8,t=65,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=8,t=1,p=2$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=8,t=1,p=1$c2Fsd$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$aGFza",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA$",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "*",
        "!",
        "x",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[256];
        snprintf(line, sizeof(line), "bob device %s\n", bad[i]);
        CHECK(is_refused(line, "users:1: expected an argon2id hash"));
    }
}

TEST(a_name_has_at_most_256_bytes)
{
    char line[1024], name[300];
    memset(name, 'n', sizeof(name));
    struct pl_users *users;
    snprintf(line, sizeof(line), "%.256s device %s\n", name, HASH);
    REQUIRE(parse(line, &users) == PL_OK);
    pl_users_free(users);
    snprintf(line, sizeof(line), "%.257s device %s\n", name, HASH);
    CHECK(is_refused(line, "users:1: a name"));
}

TEST(there_are_at_most_16_attributes)
{
    char line[1024];
    int len = snprintf(line, sizeof(line), "bob device %s", HASH);
    for (int i = 0; i < 17; i++)
        len += snprintf(line + len, sizeof(line) - (size_t)len, " k%d=v", i);
    CHECK(is_refused(line, "more than 16 attributes"));
}

TEST(a_password_matches_its_hash_and_nothing_else_does)
{
    char hash[PL_PASSWORD_HASH_MAX], other[PL_PASSWORD_HASH_MAX];
    REQUIRE(pl_password_hash(PL_BYTES("secret"), hash) == PL_OK);
    REQUIRE(pl_password_hash(PL_BYTES("secret"), other) == PL_OK);
    CHECK(strcmp(hash, other) != 0);
    CHECK(pl_password_matches(hash, PL_BYTES("secret")));
    CHECK(!pl_password_matches(hash, PL_BYTES("Secret")));
    CHECK(!pl_password_matches(hash, PL_BYTES("secret\0x")));
    CHECK(!pl_password_matches(hash, PL_NO_BYTES));
    CHECK(!pl_password_matches("x", PL_BYTES("secret")));
    /* What we make we read. */
    char line[256];
    struct pl_users *users;
    snprintf(line, sizeof(line), "bob device %s\n", hash);
    REQUIRE(parse(line, &users) == PL_OK);
    CHECK_STR(pl_users_dummy_hash(users), hash);
    pl_users_free(users);
    CHECK(!pl_password_matches(pl_users_dummy_hash(NULL), PL_BYTES("secret")));
}

TEST(a_password_that_is_too_long_is_not_hashed)
{
    static const char text[PL_PASSWORD_MAX + 1];
    char hash[PL_PASSWORD_HASH_MAX];
    CHECK_EQ(pl_password_hash(pl_bytes_of(text, sizeof(text)), hash), PL_TOO_LARGE);
}

TEST(a_file_that_others_may_write_is_refused_and_one_that_they_may_read_is_told)
{
    struct pl_users *users;
    const char *path = file_write("shared", "bob device " HASH "\n");
    REQUIRE(pl_users_load(path, &diag, &users) == PL_OK);
    CHECK(!pl_users_is_exposed(users));
    pl_users_free(users);
    chmod(path, 0644);
    REQUIRE(pl_users_load(path, &diag, &users) == PL_OK);
    CHECK(pl_users_is_exposed(users));
    pl_users_free(users);
    chmod(path, 0660);
    CHECK_EQ(pl_users_load(path, &diag, &users), PL_CONFIG);
    CHECK(strstr(diag.text, "chmod 600"));
    CHECK_EQ(pl_users_load(file_path("missing"), &diag, &users), PL_NOT_FOUND);
    CHECK_EQ(pl_users_load(files_folder, &diag, &users), PL_CONFIG);
}

static struct pl_user_edit edit_of(const char *name, const char *role, const char *hash)
{
    return (struct pl_user_edit){
        .name = pl_bytes_text(name), .role = pl_bytes_text(role), .secrets = hash};
}

TEST(users_are_added_changed_and_removed_and_the_rest_of_the_file_stays)
{
    const char *path = file_path("edited");
    struct pl_attribute realm = {PL_BYTES("realm"), PL_BYTES("plant")};
    struct pl_user_edit edit = edit_of("bob", "device", HASH);
    edit.attributes = &realm;
    edit.attribute_count = 1;
    REQUIRE(pl_users_file_add(path, &edit, &diag) == PL_OK);
    CHECK_STR(file_text(path), "bob device " HASH " realm=plant\n");
    struct stat facts;
    CHECK(stat(path, &facts) == 0 && (facts.st_mode & 0777) == 0600);

    file_write("edited", "# top\nbob\tdevice  " HASH " realm=plant\n# end");
    edit = edit_of("ann", "admin", HASH);
    REQUIRE(pl_users_file_add(path, &edit, &diag) == PL_OK);
    CHECK_STR(
        file_text(path), "# top\nbob\tdevice  " HASH " realm=plant\n# end\nann admin " HASH "\n");
    CHECK_EQ(pl_users_file_add(path, &edit, &diag), PL_EXISTS);

    edit = edit_of("bob", "admin", NULL);
    REQUIRE(pl_users_file_change(path, &edit, &diag) == PL_OK);
    CHECK_STR(
        file_text(path), "# top\nbob admin " HASH " realm=plant\n# end\nann admin " HASH "\n");
    edit = edit_of("eve", "admin", NULL);
    CHECK_EQ(pl_users_file_change(path, &edit, &diag), PL_NOT_FOUND);

    REQUIRE(pl_users_file_remove(path, PL_BYTES("bob"), &diag) == PL_OK);
    CHECK_STR(file_text(path), "# top\n# end\nann admin " HASH "\n");
    CHECK_EQ(pl_users_file_remove(path, PL_BYTES("bob"), &diag), PL_NOT_FOUND);
}

TEST(an_edit_cannot_write_what_the_server_would_refuse_or_read_otherwise)
{
    const char *path = file_write("kept", "ann admin " HASH "\n");
    static const char *const names[] = {"", "#bob", "a b", "a\nroot admin x", "a\tb", " ", "\x7f"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct pl_user_edit edit = edit_of(names[i], "device", HASH);
        CHECK_EQ(pl_users_file_add(path, &edit, &diag), PL_CONFIG);
        edit = edit_of("bob", names[i][0] == '#' ? "" : names[i], HASH);
        CHECK_EQ(pl_users_file_add(path, &edit, &diag), PL_CONFIG);
    }
    struct pl_user_edit edit = edit_of("bob", "device", "no hash");
    CHECK_EQ(pl_users_file_add(path, &edit, &diag), PL_CONFIG);
    edit = edit_of("ann", "a b", NULL);
    CHECK_EQ(pl_users_file_change(path, &edit, &diag), PL_CONFIG);
    CHECK_STR(file_text(path), "ann admin " HASH "\n");

    path = file_write("broken", "ann admin\n");
    edit = edit_of("bob", "device", HASH);
    CHECK_EQ(pl_users_file_add(path, &edit, &diag), PL_CONFIG);
    CHECK(strstr(diag.text, ":1: expected an argon2id hash"));
    CHECK_STR(file_text(path), "ann admin\n");
}

TEST(a_link_is_followed_and_not_replaced)
{
    const char *real = file_write("real", ""), *link = file_path("link");
    REQUIRE(symlink(real, link) == 0);
    struct pl_user_edit edit = edit_of("bob", "device", HASH);
    REQUIRE(pl_users_file_add(link, &edit, &diag) == PL_OK);
    struct stat facts;
    CHECK(lstat(link, &facts) == 0 && S_ISLNK(facts.st_mode));
    CHECK_STR(file_text(real), "bob device " HASH "\n");
}

TEST(an_allocation_that_fails_is_an_error_and_no_leak)
{
    for (long after = 0;; after++) {
        struct pl_users *users = NULL;
        pl_alloc_fail(after, 0);
        enum pl_err err = parse("bob device " HASH " a=b\nann admin " HASH "\n", &users);
        pl_alloc_fail(-1, 0);
        if (err == PL_OK) {
            CHECK(after > 2);
            CHECK_EQ(pl_users_count(users), 2);
            pl_users_free(users);
            break;
        }
        CHECK_EQ(err, PL_NO_MEMORY);
        CHECK(diag.text[0]);
    }
    const char *path = file_write("failing", "ann admin " HASH "\n");
    struct pl_user_edit edit = edit_of("bob", "device", HASH);
    enum pl_err err;
    long after = 0;
    do {
        pl_alloc_fail(after++, 0);
        err = pl_users_file_add(path, &edit, &diag);
        pl_alloc_fail(-1, 0);
        /* Failing behind the rename: it is there, only its folder was not synced. */
        if (err == PL_IO && strstr(file_text(path), "bob"))
            break;
    } while (err != PL_OK && CHECK_STR(file_text(path), "ann admin " HASH "\n"));
    CHECK(strstr(file_text(path), "bob device " HASH));
}
