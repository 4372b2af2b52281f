"""Rows about base copies from files and NBD exports."""

import os

from lib import data, engine, peers
from lib.checks import Check
from lib.measure import Failed
from lib.rounds import Row, can_be_direct

PEERS = ("qemu-img", "nbdcopy")


class Base(Row):
    kind = "half"
    share = 0.5  # of the disk that is data
    cpu_limits = ()  # (groups, limit)
    judged = (("wall", PEERS), ("cpu", PEERS))

    def prepare(self):
        self.data_mib = int(self.context.mib * self.share)
        data.run("make", self.kind, self.path("source.raw"), "--mib", self.context.mib)

    def cases(self):
        is_direct = can_be_direct(self.directory)
        return (engine.copies(self.programs) + engine.raw(self.programs, not is_direct) +
                peers.copies(is_direct))

    def wall_check(self, results, limit):
        best = results.best("wall", PEERS)
        return Check(f"wall x {best}", results.ratio(engine.ENGINE, best, "wall"), limit)

    def cpu_checks(self, results):
        mine = engine.cheapest(self.programs)
        for groups, limit in self.cpu_limits:
            best = results.best("cpu", groups)
            yield Check(f"CPU without digests x {best}", results.ratio(mine, best, "cpu"), limit)


class BaseTmpfs(Base):
    name = "base-tmpfs"
    title = "base, file source, tmpfs"
    cpu_limits = ((PEERS, 0.8),)
    disks_mib = 1.3

    def checks(self, results):
        raw = Check("wall x raw copy", results.ratio(engine.ENGINE, engine.RAW, "wall"), 1.05)
        return [raw, self.wall_check(results, 1.0), *self.cpu_checks(results)]


class BaseTmpfsRandom(BaseTmpfs):
    name = "base-tmpfs-random"
    title = "base, file source, tmpfs; no zeroes and no holes"
    kind, share, disks_mib = "full", 1.0, 2.1


class BaseDisk(Base):
    name = "base-disk"
    title = "base, file source, disk O_DIRECT"
    place = "disk"
    contenders = 2
    judged = (("wall", PEERS), ("cpu", ("qemu-img",)), ("cpu", ("nbdcopy",)))
    cpu_limits = ((("qemu-img",), 0.7), (("nbdcopy",), 0.25))
    disks_mib = 1.3

    def prepare(self):
        if not can_be_direct(self.directory):
            raise Failed(f"the file system of {self.context.places[self.place]} takes no O_DIRECT")
        super().prepare()

    def before(self, job):
        """Everybody finds the source cold."""
        os.sync()
        fd = os.open(job.source, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

    def after(self, run, case, job):
        run.call(["sync", job.target])  # costs those nothing that have flushed already

    def checks(self, results):
        return [self.wall_check(results, 1.0), *self.cpu_checks(results)]


class BaseDiskRandom(BaseDisk):
    name = "base-disk-random"
    title = "base, file source, disk O_DIRECT; no zeroes and no holes"
    is_extra = True
    kind, share, disks_mib = "full", 1.0, 2.1


class Nbd(Base):
    judged = (("wall", PEERS),)
    contenders = 2
    delay_ms = 0
    disks_mib = 0.7

    def prepare(self):
        """Half the size: it is a rate that counts, and these are slow."""
        self.data_mib = self.context.mib // 4
        data.run("make", self.kind, self.path("source.raw"), "--mib", self.context.mib // 2)

    def cases(self):
        is_direct = can_be_direct(self.directory)
        # qemu-img's -t none needs no case of its own here: what it waits for is the source.
        rivals = [case for case in peers.copies(is_direct) if "-t none" not in case.name]
        return peers.behind_delay(engine.base_copy(self.programs) + rivals, self.delay_ms)

    def checks(self, results):
        best = results.best("wall", PEERS)
        return [Check(f"speed x {best}", results.ratio(best, engine.ENGINE, "wall"), 1.0,
                      is_floor=True)]


class Nbd2(Nbd):
    name = "nbd-2ms"
    title = "base, NBD source with 2 ms delay"
    delay_ms = 2


class Nbd10(Nbd):
    name = "nbd-10ms"
    title = "base, NBD source with 10 ms delay"
    delay_ms = 10


ROWS = [BaseTmpfs, BaseTmpfsRandom, BaseDisk, BaseDiskRandom, Nbd2, Nbd10]
