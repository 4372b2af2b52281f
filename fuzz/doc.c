/* The strict reader of YAML and JSON: bounded, and every value that it gives out can be asked. */
#include "base/doc.h"
#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"

static size_t
walk(const struct node *node, unsigned depth, struct problems *problems)
{
    static const char *const words[] = {"auto", "true", "false", NULL};
    static const char *const known[] = {"migration", "vcenter", NULL};
    size_t nodes = 1;

    MUST(depth <= DOC_MAX_DEPTH + 1);
    if (node_kind(node) == NODE_SCALAR)
        MUST(strlen(node_text(node)) <= DOC_MAX_BYTES);
    if (node_kind(node) == NODE_LIST)
        for (size_t i = 0; i < node_count(node); i++)
            nodes += walk(node_item(node, i), depth + 1, problems);
    if (node_kind(node) == NODE_MAP) {
        for (size_t i = 0; i < node_count(node); i++) {
            const char *key = node_key(node, i);
            CLEANUP(free_charp) char *text = NULL;
            CLEANUP(free_charp) char *place = node_place(node_item(node, i));
            int64_t number = 7;
            bool is_true;
            int word = 0;

            MUST(node_get(node, key) == node_item(node, i)); /* no key twice */
            MUST(place);
            (void)node_decode_string(node, key, &text, problems);
            (void)node_decode_int(node, key, -5, 5, &number, problems);
            MUST((number >= -5 && number <= 5) || number == 7);
            (void)node_decode_bool(node, key, &is_true, problems);
            (void)node_decode_word(node, key, words, &word, problems);
            MUST(word >= 0 && word < 3);
            (void)node_decode_map(node, key, problems);
            (void)node_decode_list(node, key, problems);
            nodes += walk(node_item(node, i), depth + 1, problems);
        }
        node_check_keys(node, known, problems);
    }
    return nodes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct doc *doc = NULL;
    struct err *err = NULL;
    struct problems problems;

    if (doc_parse("fuzz.yaml", (const char *)data, size, &doc, &err) < 0) {
        MUST(err_code(err) != E_NONE && !doc);
        err_free(err);
        return 0;
    }
    problems_init(&problems, size & 1);
    MUST(walk(doc_root(doc), 0, &problems) <= DOC_MAX_NODES);
    if (problems_check(&problems, &err) < 0)
        MUST(problems.count > 0);
    err_free(err);
    problems_done(&problems);
    doc_free(doc);
    return 0;
}
