/* The UI's files. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/internal.h"
#include "base/file.h"
#include "base/log.h"

#define MAX_FILE  (16U * 1024 * 1024)
#define MAX_FILES 500
#define MAX_DEPTH 4

struct asset {
    char *path; /* "/assets/index-3f.js" */
    char *data;
    size_t length;
};
struct assets {
    VEC_DECLARE(, struct asset)
    files;
    char *config_js; /* what the UI reads where it runs */
};

static void
load_directory(struct assets *assets, const char *dir, const char *prefix, int depth)
{
    DIR *stream = opendir(dir);
    const struct dirent *entry;

    while (stream && (entry = readdir(stream)) && assets->files.count < MAX_FILES) {
        CLEANUP(free_charp) char *path = file_join(dir, entry->d_name);
        CLEANUP(free_charp) char *name = xasprintf("%s/%s", prefix, entry->d_name);
        CLEANUP(err_freep) struct err *failure = NULL;
        struct asset asset = {0};
        struct stat st;

        if (entry->d_name[0] == '.' || lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH)
            load_directory(assets, path, name, depth + 1);
        if (!S_ISREG(st.st_mode))
            continue;
        if (file_read(path, MAX_FILE, &asset.data, &asset.length, &failure) < 0) {
            log_warning("the UI's file %s is left out: %s", path, err_message(failure));
            continue;
        }
        asset.path = take(name);
        vec_push(&assets->files, asset);
    }
    if (stream)
        (void)closedir(stream);
}

struct assets *
assets_load(const char *dir)
{
    struct assets *assets = xcalloc(1, sizeof(*assets));

    if (dir && *dir)
        load_directory(assets, dir, "", 0);
    return assets;
}

void
assets_free(struct assets *assets)
{
    if (!assets)
        return;
    for (size_t i = 0; i < assets->files.count; i++) {
        free(assets->files.items[i].path);
        free(assets->files.items[i].data);
    }
    vec_done(&assets->files);
    free(assets->config_js);
    free(assets);
}

static const struct asset *
find(const struct assets *assets, const char *path)
{
    for (size_t i = 0; i < assets->files.count; i++)
        if (!strcmp(assets->files.items[i].path, path))
            return &assets->files.items[i];
    return NULL;
}

static const char *
type_of(const char *path)
{
    static const struct {
        const char *suffix, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".json", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
        {".woff2", "font/woff2"},
    };
    size_t length = strlen(path);

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        size_t n = strlen(types[i].suffix);

        if (length > n && !strcmp(path + length - n, types[i].suffix))
            return types[i].type;
    }
    return "application/octet-stream";
}

static bool
takes_gzip(const struct request *r)
{
    const char *accepted = pairs_get(&r->headers, "Accept-Encoding");

    return accepted && strstr(accepted, "gzip");
}

bool
assets_answer(struct assets *assets, struct request *r)
{
    const char *path = r->path;
    CLEANUP(free_charp) char *packed = NULL;
    const struct asset *file, *small;

    if (strcmp(r->method, "GET") != 0)
        return false;
    file = find(assets, path);
    if (!file && !strchr(path + (*path == '/'), '.')) /* a page of the UI, which it draws itself */
        file = find(assets, path = "/index.html");
    if (!file)
        return false;
    packed = xasprintf("%s.gz", path);
    small = takes_gzip(r) ? find(assets, packed) : NULL;
    r->encoding = small ? "gzip" : NULL;
    r->borrowed = small ? small->data : file->data;
    r->answer_length = small ? small->length : file->length;
    r->type = type_of(path);
    /* Names below assets/ change with what is in them. */
    answer_header(r, "Cache-Control",
                  !strncmp(path, "/assets/", 8) ? "public, max-age=31536000, immutable"
                                                : "no-cache");
    answer_header(r, "Vary", "Accept-Encoding");
    r->status = MHD_HTTP_OK;
    r->is_answered = true;
    return true;
}
