/* Which disk holds the system, by virt-inspector. */
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

#include "base/child.h"
#include "base/err.h"
#include "base/util.h"
#include "guest/internal.h"

#define MAX_XML_BYTES (8 * MIB)

/* ---- its answer -------------------------------------------------------------------------------- */

static const xmlNode *
first_child(const xmlNode *node, const char *name)
{
    const xmlNode *child = node ? node->children : NULL;

    while (child &&
           (child->type != XML_ELEMENT_NODE || strcmp((const char *)child->name, name) != 0))
        child = child->next;
    return child;
}

/* The text of a child, one line; NULL.  The caller frees. */
static char *
child_text(const xmlNode *node, const char *name)
{
    const xmlNode *child = first_child(node, name);
    xmlChar *content = child ? xmlNodeGetContent(child) : NULL;
    char *text = content ? strndup((const char *)content, 255) : NULL;

    xmlFree(content);
    for (char *c = text; c && *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    return text;
}

/* "/dev/sda", "/dev/sda1", also vd, hd and xvd; what is no such device may be anywhere. */
static bool
is_first_disk(const char *device)
{
    static const char *const disks[] = {"/dev/sda", "/dev/vda", "/dev/hda", "/dev/xvda"};

    for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
        size_t length = strlen(disks[i]);

        if (!strncmp(device, disks[i], length) &&
            strspn(device + length, "0123456789") == strlen(device + length))
            return true;
    }
    return false;
}

/* What Linux needs to boot; a home directory on another disk is of no concern.  A drive of Windows may
 * hold anything that its registry knows. */
static bool
is_of_system(const xmlNode *mount, const char *type)
{
    static const char *const places[] = {"/", "/boot", "/boot/efi", "/usr", "/var", "/etc"};
    xmlChar *content = xmlNodeGetContent(mount);
    bool found = strcmp(type, "linux") != 0;

    for (size_t i = 0; i < ARRAY_SIZE(places) && !found; i++)
        found = content && !strcmp((const char *)content, places[i]);
    xmlFree(content);
    return found;
}

static bool
are_on_first_disk(const xmlNode *system, const char *list, const char *type)
{
    const xmlNode *parent = first_child(system, list);

    for (const xmlNode *mount = parent ? parent->children : NULL; mount; mount = mount->next) {
        xmlChar *device;
        bool is_there;

        if (mount->type != XML_ELEMENT_NODE || !is_of_system(mount, type))
            continue;
        /* A drive mapping has its device as content. */
        device = xmlGetProp(mount, BAD_CAST "dev");
        if (!device)
            device = xmlNodeGetContent(mount);
        is_there = device && is_first_disk((const char *)device);
        xmlFree(device);
        if (!is_there)
            return false;
    }
    return true;
}

static int
read_systems(const xmlNode *root, struct guest_inspection *ret, struct err **err)
{
    const xmlNode *system = first_child(root, "operatingsystem");
    struct guest_inspection found = {0};

    for (const xmlNode *s = system; s; s = s->next)
        found.systems += s->type == XML_ELEMENT_NODE;
    if (!system) {
        err_set(err, E_GUEST_INSPECT, "no operating system was found on the disks");
        return err_hint(err,
                        "libguestfs knows no system there, or the file systems are encrypted or "
                        "damaged; with run_virt_v2v: false the VM is imported as it is");
    }
    found.root = child_text(system, "root");
    found.type = child_text(system, "name");
    found.product = child_text(system, "product_name");
    if (!found.root || !found.type) {
        guest_inspection_done(&found);
        return err_set(err, E_GUEST_INSPECT, "virt-inspector names no root device or no system");
    }
    found.is_on_first_disk = is_first_disk(found.root) &&
                             are_on_first_disk(system, "mountpoints", found.type) &&
                             are_on_first_disk(system, "drive_mappings", found.type);
    *ret = found;
    return 0;
}

int
guest_parse_inspection(const char *xml, size_t length, struct guest_inspection *ret,
                       struct err **err)
{
    xmlDoc *doc;
    const xmlNode *root;
    int result;

    if (length > MAX_XML_BYTES)
        return err_set(err, E_LIMIT, "virt-inspector's answer is larger than %llu MiB",
                       (unsigned long long)(MAX_XML_BYTES / MIB));
    doc = xmlReadMemory(xml, (int)length, "virt-inspector", NULL,
                        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                            XML_PARSE_NOCDATA);
    root = doc ? xmlDocGetRootElement(doc) : NULL;
    if (!root || doc->intSubset || strcmp((const char *)root->name, "operatingsystems") != 0)
        result = err_set(err, E_GUEST_INSPECT, "virt-inspector's answer makes no sense");
    else
        result = read_systems(root, ret, err);
    xmlFreeDoc(doc);
    return result;
}

void
guest_inspection_done(struct guest_inspection *inspection)
{
    free(inspection->root);
    free(inspection->type);
    free(inspection->product);
    *inspection = (struct guest_inspection){0};
}

/* ---- asking ------------------------------------------------------------------------------------ */

int
guest_inspect(const char *const *images, size_t count, const struct guest_watch *watch,
              struct guest_inspection *ret, struct err **err)
{
    static const char *const env[] = {"LIBGUESTFS_BACKEND=direct", "LC_ALL=C", NULL};
    CLEANUP(free_charp) char *program = guest_find_inspector();
    CLEANUP(str_done) struct str xml = STR_INIT(MAX_XML_BYTES + 1);
    const char *argv[2 * GUEST_MAX_DISKS + 5];
    size_t n = 0;
    int status;

    if (!program) {
        err_set(err, E_GUEST_TOOLS, "there is no virt-inspector");
        return err_hint(err, "install libguestfs-tools (guestfs-tools)");
    }
    if (count > GUEST_MAX_DISKS)
        return err_set(err, E_LIMIT, "a VM of more than %d disks cannot be converted",
                       GUEST_MAX_DISKS);
    argv[n++] = program;
    argv[n++] = "--no-applications";
    argv[n++] = "--no-icon";
    argv[n++] = "--format=qcow2";
    for (size_t i = 0; i < count; i++) {
        argv[n++] = "-a";
        argv[n++] = images[i];
    }
    argv[n] = NULL;
    if (guest_run(argv, env, watch, &xml, &status, err) < 0)
        return -1;
    if (status) {
        err_set(err, E_GUEST_INSPECT, "virt-inspector: %s", child_describe_status(status));
        return err_hint(err,
                        "the log has what it said; libguestfs-test-tool tells whether libguestfs "
                        "works on this host");
    }
    return guest_parse_inspection(str_text(&xml), xml.length, ret, err);
}
