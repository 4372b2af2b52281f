"""Rows about NFS exports that are not mounted: a real server on loopback, and libnfs by itself as the peer."""

import importlib
import os
import sys

from lib import data, engine
from lib.cases import Case
from lib.checks import Check
from lib.measure import Failed, cpu_of
from lib.rounds import Row

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "nfs")
LIBNFS = "libnfs"


def ganesha(build):
    """The module that the tests start the server with; it wants to know the build when it is loaded."""
    os.environ["V2C_BUILD_DIR"] = build
    sys.path.insert(0, TESTS)
    try:
        return importlib.import_module("ganesha")
    finally:
        sys.path.remove(TESTS)


class Nfs(Row):
    name = "nfs-tmpfs"
    title = "base, file source, export of an NFS server on tmpfs, not mounted"
    is_extra = True  # wants root and nfs-ganesha
    kind, size, share = "half", 1.0, 0.5  # of the disk, and of its data, by --size
    disks_mib = 1.3
    judged = (("wall", (LIBNFS,)),)
    count = 0
    server = None

    def prepare(self):
        module = ganesha(self.programs.build)
        if module.why_not():
            raise Failed(module.why_not())
        self.data_mib = int(self.context.mib * self.share)
        data.run("make", self.kind, self.source(), "--mib",
                 int(self.context.mib * self.size))
        os.mkdir(self.path("export"))
        self.server = module.Ganesha(self.path("server"), self.path("export"), keeps=False)
        self.watched = [self.server.process.pid]

    def source(self):
        """In memory always: it is the server that is measured."""
        return os.path.join(self.sockets, "source.raw")

    def close(self):
        if self.server:
            self.server.kill()

    def job(self, case):
        case.source = self.source()
        job = super().job(case)
        self.count += 1  # the server remembers names, and does not see what happens behind its back
        job.target = self.path(f"export/target{self.count}")
        return job

    def remove(self, job):
        if os.path.exists(job.target):
            os.truncate(job.target, 0)  # the server holds it open
        super().remove(job)

    def cases(self):
        def copy(flags):
            return lambda r, job: r.call([*job.prefix, self.programs.copy, *flags, job.source,
                                          self.server.url + job.target])

        def libnfs(in_flight):
            ports = f"nfsport={self.server.nfs}&mountport={self.server.mount}"
            return Case(f"{LIBNFS}, {in_flight} in flight", LIBNFS, lambda r, job: r.call(
                [self.programs.path("bench", "v2c-raw-nfs"), job.source,
                 f"nfs://127.0.0.1{job.target}?version=3&{ports}", in_flight]), is_raw=True)
        return [Case(engine.ENGINE, "engine", copy([])),
                Case(engine.NO_DIGESTS, "no-digests", copy(["--no-digests"])),
                libnfs(16), libnfs(4)]

    def before(self, job):
        self.server_cpu = cpu_of(self.server.process.pid)

    def figures(self, case, job):
        return {"server_cpu_s": cpu_of(self.server.process.pid) - self.server_cpu}

    def checks(self, results):
        best = results.best("wall", (LIBNFS,))
        return [Check(f"speed x {best}", results.ratio(best, engine.ENGINE, "wall"), 0.8,
                      is_floor=True)]


class NfsRandom(Nfs):
    name = "nfs-tmpfs-random"
    title = "base, file source, export of an NFS server on tmpfs, not mounted; no zeroes and no holes"
    kind, share, size, disks_mib = "full", 0.5, 0.5, 1.1


class NfsDisk(Nfs):
    name = "nfs-disk"
    title = "base, file source, export of an NFS server on disk, not mounted"
    place = "disk"


ROWS = [Nfs, NfsRandom, NfsDisk]
