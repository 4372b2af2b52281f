"""The peers: qemu-img convert, nbdcopy into qemu-nbd, libnbd into qemu-nbd; each as it comes, tuned,
and with malloc settings without which QEMU gives the buffer of every request back to the kernel."""

import os

from lib.cases import MALLOC_SUFFIX, Case, nbd_uri

MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1073741824:"
                            "glibc.malloc.top_pad=67108864"}
FAST_SERVER = ["-e", "0", "--cache=none", "--aio=io_uring", "--discard=unmap"]
FAST_COPY = ["-C", "4", "-R", "16", "-T", "2", "--request-size=1048576", "--destination-is-zero",
             "--flush"]
IN_FLIGHT = 16


def with_malloc(name, group, make):
    """make(env) -> run; the case as it comes and with the malloc settings."""
    return [Case(name, group, make(None)), Case(name + MALLOC_SUFFIX, group, make(MALLOC))]


def convert(flags):
    def make(env):
        def run(r, job):
            r.call(["qemu-img", "convert", *flags, "-f", "raw", "-O", "qcow2",
                    job.uri or job.source, job.target], env)
        return run
    name = " ".join(["qemu-img", *flags]) if flags else "qemu-img, defaults"
    return with_malloc(name, "qemu-img", make)


def start_qemu_nbd(r, job, flags, env):
    socket = job.socket("target.sock")
    server = r.start(["qemu-nbd", "-t", "-f", "qcow2", "-k", socket, *flags, job.target], env)
    r.wait_for_socket(socket, server)
    return server, nbd_uri(socket)


def nbdcopy(name, server_flags, copy_flags):
    def make(env):
        def run(r, job):
            r.call(["qemu-img", "create", "-q", "-f", "qcow2", job.target, job.size])
            server, uri = start_qemu_nbd(r, job, server_flags, env)
            r.call(["nbdcopy", *copy_flags, job.uri or job.source, uri], env)
            r.stop(server)
        return run
    return with_malloc(name, "nbdcopy", make)


def copies(has_direct):
    """All ways to copy a disk into QCOW2; @has_direct: source and target can do without page cache."""
    cases = convert([]) + convert(["-W", "-m", "16"])
    if has_direct:
        cases += convert(["-W", "-m", "16", "-t", "none", "-T", "none"])
    cases += nbdcopy("nbdcopy, defaults", [], [])
    return cases + nbdcopy("nbdcopy, tuned", FAST_SERVER if has_direct else ["-e", "0"], FAST_COPY)


def deltas(program, has_direct):
    """libnbd with 16 writes in flight, in order of the disk, into qemu-nbd."""
    def with_server(name, flags):
        def make(env):
            def run(r, job):
                server, uri = start_qemu_nbd(r, job, flags, env)
                r.call([program, job.source, uri, job.ranges + ".txt", IN_FLIGHT], env)
                r.stop(server)
            return run
        return with_malloc(name, "libnbd", make)
    cases = with_server("libnbd, qemu-nbd defaults", [])
    return cases + with_server("libnbd, qemu-nbd tuned", FAST_SERVER if has_direct else ["-e", "0"])


def behind_delay(cases, delay_ms):
    """The same cases, reading from an NBD server that takes so long over each request.  The server is
    no peer: it always has the malloc settings.  Its CPU time counts in every case alike."""
    def wrap(case):
        def run(r, job):
            socket = job.socket("source.sock")
            server = r.start(["nbdkit", "-f", "-r", "-U", socket, "--threads=16", "--filter=delay",
                              "file", job.source, f"rdelay={delay_ms}ms"], MALLOC)
            r.wait_for_socket(socket, server)
            job.uri = nbd_uri(socket)
            case.run(r, job)
            r.stop(server)
            if os.path.exists(socket):
                os.unlink(socket)
        return Case(case.name, case.group, run)
    return [wrap(case) for case in cases]
