/* The format between v2c-engine (source/vddk.c) and v2c-vddk, one process per disk.
 *
 * v2c-vddk is started with LD_LIBRARY_PATH pointing into VDDK, fd 3 = one end of a SOCK_SEQPACKET
 * pair, fd 4 = the memfd of the buffer pool.  Every message is one packet of exactly the size below,
 * host byte order (both ends are one machine).  Requests carry an id that the answer repeats; reads
 * may be answered in any order.  Strings never travel on the command line: the password is in the
 * open message.
 *
 * Order: OPEN once, answered when the disk is open or could not be; then INFO is part of the answer;
 * then EXTENTS and READ in any number; CLOSE, answered after everything else, and the process exits 0.
 * The engine closing its end means CLOSE without an answer.
 *
 * Both ends validate: sizes, slot and range of a read, strings' termination, what a session may use.  A packet that is wrong
 * ends the process with exit status 3. */
#ifndef V2C_VDDK_WIRE_H
#define V2C_VDDK_WIRE_H

#include <stdint.h>

#define VDDK_WIRE_VERSION        2
#define VDDK_WIRE_SOCKET_FD      3
#define VDDK_WIRE_MEMORY_FD      4
#define VDDK_WIRE_TEXT           512 /* of one string, NUL included */
#define VDDK_WIRE_SLOT_BYTES     (1024 * 1024)
#define VDDK_WIRE_SLOT_ALIGN     4096 /* of a read's place in its slot */
#define VDDK_WIRE_MAX_EXTENTS    1024 /* in one answer; the rest is asked for again */

/* Buffers of a session on the ESXi host, in units of 64 KiB: the largest, and all of them. */
#define VDDK_WIRE_MAX_NFC_BUFFER 32U  /* 2 MiB */
#define VDDK_WIRE_MAX_NFC_TOTAL  256U /* 16 MiB */
#define VDDK_WIRE_MAX_LOG_LEVEL  6U

enum vddk_wire_type {
    VDDK_WIRE_OPEN = 1,
    VDDK_WIRE_EXTENTS,
    VDDK_WIRE_READ,
    VDDK_WIRE_CLOSE,
};

struct vddk_wire_header {
    uint32_t version; /* VDDK_WIRE_VERSION */
    uint32_t type;    /* enum vddk_wire_type; the answer has the same */
    uint64_t id;
};

/* Of what travels from the ESXi host. */
enum vddk_wire_compression {
    VDDK_WIRE_PLAIN = 0,
    VDDK_WIRE_ZLIB,
    VDDK_WIRE_FASTLZ,
    VDDK_WIRE_SKIPZ, /* zeroes only */
};

struct vddk_wire_open {
    struct vddk_wire_header header;
    char libdir[VDDK_WIRE_TEXT];
    char server[VDDK_WIRE_TEXT];
    char user[VDDK_WIRE_TEXT];
    char password[VDDK_WIRE_TEXT];
    char thumbprint[VDDK_WIRE_TEXT];
    char vm_moref[VDDK_WIRE_TEXT];
    char snapshot_moref[VDDK_WIRE_TEXT]; /* empty: none */
    char disk_path[VDDK_WIRE_TEXT * 2];
    char transports[VDDK_WIRE_TEXT];
    char
        tmp_dir[VDDK_WIRE_TEXT]; /* of VDDK's own files; empty: its choice; no quotes or controls */
    uint32_t port;
    uint32_t slot_count; /* of the pool */
    uint32_t compression;
    uint32_t is_buffered;      /* 1: not opened unbuffered even where that works */
    uint32_t nfc_buffer;       /* size of one, in 64 KiB */
    uint32_t nfc_buffer_count; /* size x count: at most VDDK_WIRE_MAX_NFC_TOTAL */
    uint32_t log_level;        /* of VDDK's transports: 1 + level; 0: its own choice */
    uint32_t reserved;
};

/* What failed, for the engine to turn into an error code. */
enum vddk_wire_failure {
    VDDK_WIRE_OK = 0,
    VDDK_WIRE_FAIL_MISSING, /* no libvixDiskLib.so.N in that directory */
    VDDK_WIRE_FAIL_LOAD,    /* dlopen refused it */
    VDDK_WIRE_FAIL_SYMBOL,  /* a function that must be there is not */
    VDDK_WIRE_FAIL_INIT,    /* InitEx */
    VDDK_WIRE_FAIL_CONNECT, /* PrepareForAccess, ConnectEx */
    VDDK_WIRE_FAIL_OPEN,    /* Open, GetInfo */
    VDDK_WIRE_FAIL_READ,
    VDDK_WIRE_FAIL_EXTENTS,
};

struct vddk_wire_result {
    uint32_t failure; /* enum vddk_wire_failure */
    uint32_t reserved;
    uint64_t vix_error;        /* VixError, 0 when none */
    char text[VDDK_WIRE_TEXT]; /* GetErrorText, or what we know; no stop at the end */
};

struct vddk_wire_open_answer {
    struct vddk_wire_header header;
    struct vddk_wire_result result;
    uint64_t capacity;    /* bytes */
    uint32_t is_async;    /* ReadAsync is used */
    uint32_t has_extents; /* QueryAllocatedBlocks exists */
    uint32_t is_unbuffered;
    uint32_t reserved;
    char transport[64];
    char library[128]; /* which libvixDiskLib was loaded */
};

struct vddk_wire_range {
    struct vddk_wire_header header; /* EXTENTS or READ */
    uint64_t offset;                /* bytes, whole sectors */
    uint64_t length;                /* READ: slot_offset + length at most VDDK_WIRE_SLOT_BYTES */
    uint32_t slot;                  /* READ: where the bytes go */
    uint32_t slot_offset;           /* READ: a multiple of VDDK_WIRE_SLOT_ALIGN */
};

struct vddk_wire_extents_answer {
    struct vddk_wire_header header;
    struct vddk_wire_result result;
    uint64_t covered; /* bytes from offset that this answer describes; > 0 on success */
    uint32_t count;
    uint32_t reserved;
    struct {
        uint64_t offset, length;
    } extents[VDDK_WIRE_MAX_EXTENTS];
};

struct vddk_wire_read_answer {
    struct vddk_wire_header header;
    struct vddk_wire_result result;
};

#endif
