/* What v2c-vddk knows of libvixDiskLib's binary interface, declared here on our own: VMware's headers
 * may not be redistributed, and nothing of VMware's is needed to build.  Names of fields are ours;
 * offsets are checked below.  Valid for VDDK 6.5 and later on x86_64. */
#ifndef V2C_VDDK_VIX_H
#define V2C_VDDK_VIX_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIX_SECTOR            512U

/* An error is 64 bits wide, of which only the low 16 say what it is. */
#define VIX_ERROR_CODE(error) ((error)&0xffffU)
#define VIX_OK                0U
#define VIX_E_OUT_OF_MEMORY   2U
#define VIX_E_INVALID_ARG     3U
#define VIX_E_NOT_SUPPORTED   6U
#define VIX_ASYNC             25000U /* what ReadAsync answers when it has taken the request */

#define VIX_OPEN_UNBUFFERED   1U /* offset, length and memory must be multiples of VIX_UNBUFFERED */
#define VIX_OPEN_READ_ONLY    4U
#define VIX_OPEN_ZLIB         16U /* what travels from the host is compressed */
#define VIX_OPEN_FASTLZ       32U
#define VIX_OPEN_SKIPZ        64U
#define VIX_UNBUFFERED        4096U

/* The init call wants the version of the API that the caller was written for, not the library's. */
#define VIX_API_MAJOR         6
#define VIX_API_MINOR         5

#define VIX_CRED_UID          1
#define VIX_SPEC_VMX          0

/* QueryAllocatedBlocks: the smallest chunk in sectors, and the most chunks that one call may cover. */
#define VIX_MIN_CHUNK         128U
#define VIX_MAX_CHUNKS        (512U * 1024)

struct vix_connect_params {
    char *vmx_spec; /* "moref=vm-16" */
    char *server_name;
    char *thumbprint; /* SHA-1, upper-case hex with colons */
    long reserved1;
    int32_t cred_type;
    union {
        struct {
            char *user, *password;
        } uid;
        struct {
            char *cookie, *user, *key;
        } session;
    } creds;
    uint32_t port;
    uint32_t nfc_host_port;
    char *vim_api_version;
    char reserved2[8];
    void *reserved3;
    struct {
        char *id, *datastore, *snapshot;
    } storage_object;
    int32_t spec_type;
};
_Static_assert(offsetof(struct vix_connect_params, cred_type) == 32, "VDDK's layout");
_Static_assert(offsetof(struct vix_connect_params, creds) == 40, "VDDK's layout");
_Static_assert(offsetof(struct vix_connect_params, port) == 64, "VDDK's layout");
_Static_assert(offsetof(struct vix_connect_params, reserved3) == 88, "VDDK's layout");
_Static_assert(offsetof(struct vix_connect_params, spec_type) == 120, "VDDK's layout");
_Static_assert(sizeof(struct vix_connect_params) == 128, "VDDK's layout");

struct vix_info {
    uint32_t bios_geometry[3], physical_geometry[3];
    uint64_t capacity; /* sectors */
    int32_t adapter_type, link_count;
    char *parent_hint, *uuid;
    uint32_t logical_sector, physical_sector; /* garbage before version 7 */
};
_Static_assert(offsetof(struct vix_info, capacity) == 24, "VDDK's layout");
_Static_assert(sizeof(struct vix_info) == 64, "VDDK's layout");

struct vix_block_list {
    uint32_t count;
    struct {
        uint64_t offset, length; /* sectors */
    } blocks[];
};
_Static_assert(offsetof(struct vix_block_list, blocks) == 8, "VDDK's layout");

typedef void vix_log_fn(const char *fmt, va_list args);
typedef void vix_done_fn(void *opaque, uint64_t error);

/* The functions, without their prefix VixDiskLib_.  `may_lack` ones are NULL when the library has
 * none. */
struct vix_library {
    void *dl;
    int version;    /* the N of libvixDiskLib.so.N */
    char path[600]; /* what was loaded */

    uint64_t (*InitEx)(uint32_t major, uint32_t minor, vix_log_fn *log, vix_log_fn *warn,
                       vix_log_fn *panic, const char *libdir, const char *config_file);
    void (*Exit)(void);
    char *(*GetErrorText)(uint64_t error, const char *locale);
    void (*FreeErrorText)(char *text);
    uint64_t (*ConnectEx)(const struct vix_connect_params *params, char is_read_only,
                          const char *snapshot, const char *transports, void **ret_connection);
    uint64_t (*Disconnect)(void *connection);
    void (*FreeConnectParams)(struct vix_connect_params *params);
    uint64_t (*Open)(void *connection, const char *path, uint32_t flags, void **ret_handle);
    uint64_t (*Close)(void *handle);
    const char *(*GetTransportMode)(void *handle);
    uint64_t (*GetInfo)(void *handle, struct vix_info **ret_info);
    void (*FreeInfo)(struct vix_info *info);
    uint64_t (*Read)(void *handle, uint64_t sector, uint64_t count, uint8_t *data);

    /* may lack */
    uint64_t (*ReadAsync)(void *handle, uint64_t sector, uint64_t count, uint8_t *data,
                          vix_done_fn *done, void *opaque);
    uint64_t (*Wait)(void *handle);
    uint64_t (*QueryAllocatedBlocks)(void *handle, uint64_t sector, uint64_t count, uint64_t chunk,
                                     struct vix_block_list **ret_list);
    uint64_t (*FreeBlockList)(struct vix_block_list *list);
    struct vix_connect_params *(*AllocateConnectParams)(void);
    uint64_t (*PrepareForAccess)(const struct vix_connect_params *params, const char *identity);
    uint64_t (*EndAccess)(const struct vix_connect_params *params, const char *identity);
    uint64_t (*Cleanup)(const struct vix_connect_params *params, uint32_t *ret_cleaned,
                        uint32_t *ret_remaining);
};

struct vddk_wire_result;

/* Finds and loads the newest libvixDiskLib below @libdir.  On failure @result says what is wrong. */
bool vix_load(const char *libdir, struct vix_library *ret_library,
              struct vddk_wire_result *ret_result);

#endif
