"""The speed of one disk through the pretend VDDK."""

import subprocess

from lib.cases import Case, Job
from lib.centre import Centre, machine
from lib.checks import Check
from lib.measure import Failed
from lib.rounds import Row

MIB = 1 << 20
LINK_MIB_S = 200  # of the connection that is limited
ENGINE, FAST, SINGLE = "engine", "engine, no delay", "one request at a time"
LIMITED = f"engine, connection of {LINK_MIB_S} MiB/s"


class Vddk(Row):
    name = "vddk-2ms"
    title = "base, pretend VDDK at 2 ms a request"
    disks_mib = 0.6
    # case: group, delay in ms, MiB/s of a connection, flags
    ways = {ENGINE: ("engine", 2, 0, []),
            FAST: ("engine", 0, 0, []),
            LIMITED: ("limited", 2, LINK_MIB_S, []),
            SINGLE: ("single", 2, 0, ["--queue-depth", "1"])}
    centre = None

    def prepare(self):
        self.data_mib = self.context.mib // 4
        self.centre = Centre(self.programs, self.path("lab"), [machine("vm", [(self.data_mib, 100)])])
        self.watched = [self.centre.process.pid]

    def close(self):
        if self.centre:
            self.centre.stop()

    def cases(self):
        def way(flags):
            def run(r, job):
                argv, environment = self.centre.base_copy("vm", 0, job.target, *flags)
                r.call([*job.prefix, *argv], environment)
            return run
        return [Case(name, group, way(flags)) for name, (group, _, _, flags) in self.ways.items()]

    def job(self, case):
        _, delay_ms, rate, _ = self.ways[case.name]
        self.centre.slow_down(delay_ms, rate * MIB)
        return Job(source="", target=self.path("target"), size=self.data_mib * MIB,
                   sockets=self.sockets, prefix=self.context.prefix)

    def verify(self, case, job):
        self.centre.verify("vm", 0, job.target)
        done = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", job.target], check=False)
        if done.returncode != 0:
            raise Failed(f"{case.name}: qemu-img check says {done.returncode}")

    def checks(self, results):
        share = self.data_mib / results.median(LIMITED, "wall") / LINK_MIB_S * 100
        return [Check("of the limited connection", share, 95, is_floor=True, unit=" %"),
                Check(f"speed x {SINGLE}", results.ratio(SINGLE, ENGINE, "wall"), 8, is_floor=True)]


ROWS = [Vddk]
