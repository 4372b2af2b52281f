/* How the pretend libvixDiskLib reads disks from the lab: our own protocol, in the shape of the real
 * one.
 *
 * 1. ConnectEx: HTTPS to the vCenter's port.  The library compares the certificate's SHA-1 with the
 *    thumbprint it was given (as the real one it reports a difference only at Open), and posts
 *    `POST /lab/nfc-ticket` with JSON {"user","password","vm","snapshot"} ("" none).
 *    200 {"port": N, "ticket": "..."}; 401 wrong user or password; 404 no such VM or snapshot;
 *    409 the VM is on and no snapshot was named.
 * 2. Open: TLS to 127.0.0.1:N, the same certificate, then frames: the hello with the ticket and the
 *    disk's path, then requests, answered in any order, several in flight.
 *
 * All integers little endian.  A frame is a header and `length` bytes of payload. */
#ifndef V2C_LAB_DISKS_NFC_H
#define V2C_LAB_DISKS_NFC_H

#include <stdint.h>

#define LAB_NFC_MAGIC    0x4e464331u /* "1CFN" */
#define LAB_NFC_MAX_READ (4U * 1024 * 1024)

enum lab_nfc_op {
    LAB_NFC_HELLO = 1, /* payload: ticket NUL path NUL; answer: a = capacity in bytes */
    LAB_NFC_READ,      /* a = offset, b = length; answer payload: the bytes */
    LAB_NFC_EXTENTS,   /* a = offset, b = length; answer payload: pairs of u64 offset, length */
    LAB_NFC_CLOSE,     /* no answer */
};
enum lab_nfc_status {
    LAB_NFC_OK = 0,
    LAB_NFC_NO_TICKET, /* unknown or used up */
    LAB_NFC_NO_DISK,   /* no such path in that VM or snapshot */
    LAB_NFC_FAILED,    /* payload: text */
};

struct lab_nfc_header {
    uint32_t magic, op;
    uint32_t status; /* of an answer; 0 in a request */
    uint32_t length; /* of the payload */
    uint64_t id;     /* chosen by the client, repeated in the answer */
    uint64_t a, b;
};

#endif
