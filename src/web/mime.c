#include "web/mime.h"

#define UTF8 "; charset=utf-8"

enum { TEXT = PL_WEB_TEXT };

/* Those of Mles' web server, and what else sites are made of. */
static const struct pl_web_mime types[] = {
    /* Pages */
    {"html", "text/html" UTF8, TEXT},
    {"htm", "text/html" UTF8, TEXT},
    {"css", "text/css" UTF8, TEXT},
    {"txt", "text/plain" UTF8, TEXT},
    {"md", "text/markdown" UTF8, TEXT},
    {"csv", "text/csv" UTF8, TEXT},
    {"ics", "text/calendar" UTF8, TEXT},
    {"vtt", "text/vtt" UTF8, TEXT},
    {"js", "text/javascript" UTF8, TEXT},
    {"mjs", "text/javascript" UTF8, TEXT},
    {"jsonp", "text/javascript" UTF8, TEXT},
    {"json", "application/json", TEXT | PL_WEB_FOR_ALL},
    {"map", "application/json", TEXT},
    {"webmanifest", "application/manifest+json", TEXT},
    {"wasm", "application/wasm", TEXT},
    {"xml", "application/xml", TEXT},
    {"xhtml", "application/xhtml+xml", TEXT},
    {"rss", "application/rss+xml", TEXT},
    {"atom", "application/atom+xml", TEXT},
    {"yaml", "application/yaml", TEXT},
    {"yml", "application/yaml", TEXT},
    /* Pictures */
    {"png", "image/png", 0},
    {"jpg", "image/jpeg", 0},
    {"jpeg", "image/jpeg", 0},
    {"gif", "image/gif", 0},
    {"ico", "image/x-icon", TEXT},
    {"svg", "image/svg+xml", TEXT},
    {"svgz", "image/svg+xml", PL_WEB_GZIPPED},
    {"bmp", "image/bmp", TEXT},
    {"webp", "image/webp", 0},
    {"avif", "image/avif", 0},
    {"tif", "image/tiff", 0},
    {"tiff", "image/tiff", 0},
    /* Films and sound */
    {"mp4", "video/mp4", 0},
    {"m4v", "video/mp4", 0},
    {"mov", "video/quicktime", 0},
    {"mpeg", "video/mpeg", 0},
    {"mpg", "video/mpeg", 0},
    {"webm", "video/webm", 0},
    {"ogv", "video/ogg", 0},
    {"avi", "video/x-msvideo", 0},
    {"m3u8", "application/vnd.apple.mpegurl", TEXT},
    {"ts", "video/mp2t", 0},
    {"mp3", "audio/mpeg", 0},
    {"m4a", "audio/mp4", 0},
    {"aac", "audio/aac", 0},
    {"ogg", "audio/ogg", 0},
    {"oga", "audio/ogg", 0},
    {"opus", "audio/ogg", 0},
    {"flac", "audio/flac", 0},
    {"wav", "audio/wav", 0},
    {"mid", "audio/midi", 0},
    {"midi", "audio/midi", 0},
    {"kar", "audio/midi", 0},
    /* Fonts */
    {"otf", "font/otf", TEXT},
    {"ttf", "font/ttf", TEXT},
    {"woff", "font/woff", 0},
    {"woff2", "font/woff2", 0},
    /* To be kept */
    {"pdf", "application/pdf", 0},
    {"epub", "application/epub+zip", 0},
    {"zip", "application/zip", 0},
    {"7z", "application/x-7z-compressed", 0},
    {"gz", "application/gzip", 0},
    {"tgz", "application/gzip", 0},
    {"zst", "application/zstd", 0},
    {"tar", "application/x-tar", 0},
    {"apk", "application/vnd.android.package-archive", 0},
    {"bin", "application/octet-stream", 0},
    {"exe", "application/octet-stream", 0},
    {"dll", "application/octet-stream", 0},
    {"iso", "application/octet-stream", 0},
    {"img", "application/octet-stream", 0},
};

const struct pl_web_mime *pl_web_mime_find(struct pl_bytes path)
{
    static const struct pl_web_mime unknown = {"", "application/octet-stream", 0};
    const uint8_t *dot = path.len ? memrchr(path.data, '.', path.len) : NULL;
    if (!dot || memchr(dot, '/', path.len - (size_t)(dot - path.data)))
        return &unknown;
    struct pl_bytes extension = pl_bytes_from(path, (size_t)(dot - path.data) + 1);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (pl_bytes_equal_nocase(extension, pl_bytes_text(types[i].extension)))
            return &types[i];
    }
    return &unknown;
}
