"""The memory of whole migrations by the real engine, base copy to import."""

import os
import shutil

from lib.cases import Case, Job
from lib.centre import Centre, machine
from lib.checks import Check
from lib.migration import Migration
from lib.rounds import Row


class Memory(Row):
    """Resident memory of all processes of the engine (supervisor, worker, v2c-vddk), looked at every
    50 ms; the pool that worker and v2c-vddk share counts once."""

    name = "memory"
    title = "memory, engine and v2c-vddk summed"
    most_rounds = 2
    is_warmed_up = False
    disks_mib = 1.1
    limits = {1: 96, 8: 256}  # disks: MiB
    centre = migration = None

    def prepare(self):
        self.disk_mib = max(self.context.mib // 32, 16)
        self.data_mib = self.disk_mib * 9 // 10

    def cases(self):
        def way(disks):
            return Case(f"{disks} disk{'s' if disks > 1 else ''}", "engine",
                        lambda run, job: self.migration.run(run, job.prefix), source=str(disks))
        return [way(disks) for disks in self.limits]

    def job(self, case):
        """Each migration is of a data centre of its own."""
        self.close()
        disks = int(case.source)
        vm = machine("vm", [(self.disk_mib, 90)] * disks, power="on", writer_kib_per_s=1024)
        self.centre = Centre(self.programs, self.path("lab"), [vm])
        self.watched = [self.centre.process.pid]
        self.migration = Migration(self.programs, self.centre, self.directory, "vm", disks)
        return Job(source="", target=self.path("target"), size=0, sockets=self.sockets,
                   prefix=self.context.prefix)

    def close(self):
        if self.centre:
            self.centre.stop()
            self.centre = None
            for name in ("lab", "control-vm"):
                if os.path.exists(self.path(name)):
                    shutil.rmtree(self.path(name))

    def figures(self, case, job):
        return self.migration.memory.parts

    def verify(self, case, job):
        self.migration.verify()

    def checks(self, results):
        return [Check(f"RSS at {case.name}", results.most(case.name, "total_mib"), limit, unit=" MiB")
                for case, limit in zip(self.cases(), self.limits.values())]


ROWS = [Memory]
