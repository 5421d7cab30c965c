#include "web/accept.h"

#include "codec/http.h"

static const struct {
    const char *name, *suffix;
} encodings[PL_WEB_ENCODINGS] = {
    [PL_WEB_IDENTITY] = {"", ""},
    [PL_WEB_GZIP] = {"gzip", ".gz"},
    [PL_WEB_BROTLI] = {"br", ".br"},
    [PL_WEB_ZSTD] = {"zstd", ".zst"},
};

const char *pl_web_encoding_name(enum pl_web_encoding encoding)
{
    return encodings[encoding].name;
}

const char *pl_web_encoding_suffix(enum pl_web_encoding encoding)
{
    return encodings[encoding].suffix;
}

void pl_web_accept_begin(struct pl_web_accept *accept)
{
    for (unsigned i = 0; i < PL_WEB_ENCODINGS; i++)
        accept->weight[i] = -1;
    accept->any = -1;
}

/* "1", "0.5", "0.123", "1.000": thousandths; -1: it is none (RFC 9110, section 12.4.2). */
static int16_t parse_weight(struct pl_bytes text)
{
    if (!text.len || text.len > 5 || (text.data[0] != '0' && text.data[0] != '1') ||
        (text.len > 1 && text.data[1] != '.'))
        return -1;
    int value = text.data[0] == '1' ? 1000 : 0, unit = 100;
    for (size_t i = 2; i < text.len; i++, unit /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        value += unit * (text.data[i] - '0');
    }
    return value > 1000 ? -1 : (int16_t)value;
}

static void add(struct pl_web_accept *accept, struct pl_bytes name, int16_t weight)
{
    static const struct {
        const char *name;
        enum pl_web_encoding encoding;
    } names[] = {
        {"identity", PL_WEB_IDENTITY},
        {"gzip", PL_WEB_GZIP},
        {"x-gzip", PL_WEB_GZIP},
        {"br", PL_WEB_BROTLI},
        {"zstd", PL_WEB_ZSTD},
    };
    if (pl_bytes_equal(name, PL_BYTES("*")))
        accept->any = weight;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (pl_bytes_equal_nocase(name, pl_bytes_text(names[i].name)))
            accept->weight[names[i].encoding] = weight;
    }
}

void pl_web_accept_add(struct pl_web_accept *accept, struct pl_bytes value)
{
    struct pl_bytes element;
    while (pl_http_next_element(&value, &element)) {
        const uint8_t *semicolon = memchr(element.data, ';', element.len);
        struct pl_bytes name = element;
        int16_t weight = 1000;
        if (semicolon) {
            name.len = (size_t)(semicolon - element.data);
            struct pl_bytes rest = pl_http_trim(pl_bytes_from(element, name.len + 1));
            bool has_weight = rest.len > 2 && (rest.data[0] | 0x20) == 'q' && rest.data[1] == '=';
            weight = has_weight ? parse_weight(pl_bytes_from(rest, 2)) : -1;
        }
        if (weight >= 0)
            add(accept, pl_http_trim(name), weight);
    }
}

static int weight_of(const struct pl_web_accept *accept, unsigned encoding)
{
    int weight = accept->weight[encoding];
    if (weight >= 0)
        return weight;
    /* What is not named is taken as * says; without that the plain one is, at the very last. */
    if (encoding == PL_WEB_IDENTITY)
        return accept->any == 0 ? -1 : 0;
    return accept->any;
}

enum pl_web_encoding pl_web_accept_choice(const struct pl_web_accept *accept, unsigned index)
{
    unsigned order[PL_WEB_ENCODINGS], count = 0;
    int least = weight_of(accept, PL_WEB_IDENTITY);
    for (unsigned e = PL_WEB_ENCODINGS - 1; e > PL_WEB_IDENTITY; e--) {
        int weight = weight_of(accept, e);
        if (weight <= 0 || weight < least)
            continue;
        unsigned at = count++;
        for (; at > 0 && weight_of(accept, order[at - 1]) < weight; at--)
            order[at] = order[at - 1];
        order[at] = e;
    }
    return index < count ? (enum pl_web_encoding)order[index] : PL_WEB_IDENTITY;
}
