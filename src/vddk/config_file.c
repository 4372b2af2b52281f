#include "vddk/config_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vddk/say.h"

void
config_file_text(const struct vddk_wire_open *open, char ret_text[CONFIG_FILE_TEXT])
{
    int length = snprintf(ret_text, CONFIG_FILE_TEXT,
                          "vixDiskLib.nfcAio.Session.BufSizeIn64KB=%u\n"
                          "vixDiskLib.nfcAio.Session.BufCount=%u\n",
                          open->nfc_buffer, open->nfc_buffer_count);

    if (open->log_level)
        length += snprintf(ret_text + length, CONFIG_FILE_TEXT - (size_t)length,
                           "vixDiskLib.transport.LogLevel=%u\n"
                           "vixDiskLib.nfc.LogLevel=%u\n",
                           open->log_level - 1, open->log_level - 1);
    if (open->tmp_dir[0])
        (void)snprintf(ret_text + length, CONFIG_FILE_TEXT - (size_t)length,
                       "tmpDirectory=\"%s\"\n", open->tmp_dir);
}

/* A file, as VDDK may make the path absolute, which memory without a name would not survive; such memory
 * only where there is no place for a file. */
static int
make_place(struct config_file *file)
{
    int fd;

    (void)snprintf(file->path, sizeof(file->path), "/tmp/v2c-vddk.conf.XXXXXX");
    fd = mkostemp(file->path, O_CLOEXEC);
    if (fd >= 0)
        return fd;
    file->fd = fd = memfd_create("vddk.conf", MFD_CLOEXEC);
    if (fd >= 0)
        (void)fchmod(fd, 0600);
    (void)snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", fd);
    return fd;
}

const char *
config_file_make(const struct vddk_wire_open *open, struct config_file *ret_file)
{
    const char *theirs = getenv("V2C_VDDK_CONFIG");
    struct config_file file = CONFIG_FILE_NONE;
    char text[CONFIG_FILE_TEXT];
    int fd;

    if (theirs && *theirs) {
        say(SAY_DEBUG, "configuration: %s", theirs);
        return theirs;
    }
    config_file_text(open, text);
    fd = make_place(&file);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        say(SAY_WARNING, "cannot make a configuration for VDDK: its defaults are used");
        if (fd < 0)
            file = CONFIG_FILE_NONE;
        else if (file.fd < 0)
            close(fd);
        config_file_done(&file);
        return NULL;
    }
    if (file.fd < 0)
        close(fd);
    say(SAY_DEBUG, "configuration: nfcAio buffers of %u x 64 KiB, %u of them", open->nfc_buffer,
        open->nfc_buffer_count);
    *ret_file = file;
    return ret_file->path;
}

void
config_file_done(struct config_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    else if (file->path[0])
        (void)unlink(file->path);
    *file = CONFIG_FILE_NONE;
}
