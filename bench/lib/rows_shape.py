"""Rows about the shape of disks: changes that are scattered, disks that are nearly empty, and what the
digests cost."""

import os
import re
import shutil
import subprocess

from lib import data, engine, peers
from lib.cases import Case
from lib.checks import Check
from lib.measure import Failed
from lib.rounds import Row, can_be_direct

MIB = 1 << 20


class Delta(Row):
    kind = ""
    judged = (("wall", ("libnbd",)), ("cpu", ("libnbd",)))
    disks_mib = 2.1

    def prepare(self):
        """The base is a copy of the disk before it changed; then the disk changes."""
        source = self.path("source.raw")
        data.run("make", "half", source, "--mib", self.context.mib)
        job = self.job(Case("base", "", None))
        job.target = self.path("base.qcow2")
        engine.make_base(self.programs, job)
        count = max(10000 * self.context.mib // 8192, 10)
        self.data_mib = int(data.run("change", self.kind, source, self.path("ranges"), "--count",
                                     count)) / MIB

    def job(self, case):
        job = super().job(case)
        job.ranges = self.path("ranges")
        return job

    def before(self, job):
        shutil.copyfile(self.path("base.qcow2"), job.target)

    def cases(self):
        return (engine.delta_sync(self.programs) +
                peers.deltas(self.programs.nbd_delta, can_be_direct(self.directory)))

    def checks(self, results):
        found = []
        for measure, limit in (("wall", 0.8), ("cpu", 0.35)):
            best = results.best(measure, ("libnbd",))
            found.append(Check(f"{measure} x {best}".replace("cpu", "CPU"),
                               results.ratio(engine.ENGINE, best, measure), limit))
        return found


class Delta64k(Delta):
    name = "delta-64k"
    title = "delta, 10,000 scattered 64 KiB changes"
    kind = "64k"


class DeltaOdd(Delta):
    name = "delta-odd"
    title = "delta, 10,000 scattered changes of odd length and 4 KiB alignment"
    kind = "odd"


class Disks(Row):
    """The engine alone, with one disk beside another."""

    def copy_of(self, name, path):
        case = engine.copies(self.programs)[0]
        return Case(name, "engine", case.run, source=path)


class Sparse(Disks):
    name = "sparse"
    title = "64 GiB with 5 % data"
    disks_mib = 1.4
    names = ("5 % data", "full")

    def prepare(self):
        size = 8 * self.context.mib
        self.data_mib = size * 5 // 100 // 4 * 4
        data.run("make", "sparse", self.path(self.names[0]), "--mib", size, "--data-mib", self.data_mib)
        data.run("make", "full", self.path(self.names[1]), "--mib", self.data_mib)

    def cases(self):
        return [self.copy_of(name, self.path(name)) for name in self.names]

    def checks(self, results):
        return [Check("wall x full disk of the same data", results.ratio(*self.names, "wall"), 1.1)]


class Thin(Disks):
    """Tables that are written are counted by the kernel's word on each write (strace, with the engine's
    thread backend, because io_uring shows no single writes)."""

    name = "thin"
    title = "thin 2 TiB and 62 TiB, 128 MiB of data"
    disks = {"10 GiB": 10, "2 TiB": 2 << 10, "62 TiB": 62 << 10}  # GiB
    limits = {"2 TiB": 1, "62 TiB": 16}  # MiB of metadata
    written = {}

    def prepare(self):
        self.data_mib = max(self.context.mib // 64, 8)
        for name, gib in self.disks.items():
            data.run("make", "thin", self.path(name), "--mib", gib << 10, "--data-mib", self.data_mib)
        if not shutil.which("strace"):
            raise Failed("strace is needed to count what is written")
        self.written = {case.name: self.count_writes(case) for case in self.cases()}

    def cases(self):
        return [self.copy_of(name, self.path(name)) for name in self.disks]

    def count_writes(self, case):
        """MiB written beside the data."""
        job, log = self.job(case), self.path("strace.txt")
        subprocess.run(["strace", "-f", "-qq", "-s", "0", "-e", "trace=pwrite64,pwritev,pwritev2,write",
                        "-o", log, self.programs.copy, job.source, job.target], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "V2C_IO": "threads"})
        with open(log, encoding="utf-8") as f:
            total = sum(int(match[1]) for match in
                        (re.search(r"pwrite.*= (\d+)$", line) for line in f) if match)
        os.unlink(job.target)
        if total < self.data_mib * MIB:
            raise Failed(f"{case.name}: strace saw {total} bytes written, less than the data")
        return total / MIB - self.data_mib

    def figures(self, case, job):
        """Of the file: what it occupies beside the data."""
        in_file = os.stat(job.target).st_blocks * 512 / MIB - self.data_mib
        return {"metadata_mib": max(in_file, self.written[case.name])}

    def checks(self, results):
        found = []
        for name, limit in self.limits.items():
            found.append(Check(f"metadata of {name}", results.most(name, "metadata_mib"), limit,
                               unit=" MiB"))
        for name in self.limits:
            found.append(Check(f"RSS of {name} over 10 GiB",
                               results.difference(name, "10 GiB", "rss_mib"), 16, unit=" MiB"))
        return found


class Digests(Row):
    name = "digests"
    title = "digests on"
    disks_mib = 1.3

    def prepare(self):
        if not self.programs.has_digests():
            raise Failed("v2c-copy --help knows no --no-digests: nothing to compare")
        self.data_mib = self.context.mib // 2
        data.run("make", "half", self.path("source.raw"), "--mib", self.context.mib)

    def cases(self):
        return engine.copies(self.programs)

    def checks(self, results):
        more = results.difference(engine.ENGINE, engine.NO_DIGESTS, "cpu")
        return [Check("over off", more / (self.data_mib / 1024), 0.08, unit=" CPU s/GiB")]


ROWS = [Delta64k, DeltaOdd, Sparse, Thin, Digests]
