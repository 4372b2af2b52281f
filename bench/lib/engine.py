"""The engine's side of every row, and the plain raw copy that is the limit of the hardware."""

import os
import subprocess

from lib.cases import Case
from lib.measure import Failed

EXPERT = {"V2C_ENABLE_EXPERT_COMMANDS": "1"}


class Programs:
    def __init__(self, build):
        self.build = os.path.abspath(build)

    def path(self, *words):
        path = os.path.join(self.build, *words)
        if not os.access(path, os.X_OK):
            raise Failed(f"{path} is missing: build it first (ninja -C {self.build})")
        return path

    @property
    def copy(self):
        return self.path("bench", "v2c-copy")

    @property
    def raw(self):
        return self.path("bench", "v2c-raw")

    @property
    def nbd_delta(self):
        return self.path("bench", "v2c-nbd-delta")

    @property
    def engine(self):
        return self.path("src", "cli", "v2c-engine")

    @property
    def lab(self):
        return self.path("lab", "v2c-lab")

    @property
    def vddk(self):
        """What migration.vddk_path names: the pretend libvixDiskLib."""
        return os.path.join(self.build, "lab", "fakevddk")

    def has_digests(self):
        """Whether this version takes digests while it copies, and can be told not to."""
        told = subprocess.run([self.copy, "--help"], capture_output=True, text=True, check=False)
        return "--no-digests" in told.stdout + told.stderr


ENGINE, NO_DIGESTS, RAW = "engine", "engine, digests off", "raw copy"


def copies(programs):
    """The engine with its default setting, and without digests where this version has them."""
    def with_flags(flags):
        def run(r, job):
            r.call([*job.prefix, programs.copy, *flags, job.source, job.target])
        return run
    cases = [Case(ENGINE, "engine", with_flags([]))]
    if programs.has_digests():
        cases.append(Case(NO_DIGESTS, "no-digests", with_flags(["--no-digests"])))
    return cases


def cheapest(programs):
    """The case whose CPU time is compared with that of peers, which take no digests either."""
    return NO_DIGESTS if programs.has_digests() else ENGINE


def raw(programs, is_buffered):
    def run(r, job):
        flags = ["--buffered"] if is_buffered else []
        r.call([programs.raw, job.source, job.target, *flags])
    return [Case(RAW, "raw", run, is_raw=True)]


def base_copy(programs):
    """From an NBD export."""
    def run(r, job):
        r.call([*job.prefix, programs.engine, "base-copy", "--source", job.uri,
                "--target-qcow2", job.target], EXPERT)
    return [Case(ENGINE, "engine", run)]


def delta_sync(programs):
    def run(r, job):
        r.call([*job.prefix, programs.engine, "delta-sync", "--source", f"file:{job.source}",
                "--target-qcow2", job.target, "--ranges-file", job.ranges + ".json"], EXPERT)
    return [Case(ENGINE, "engine", run)]


def make_base(programs, job):
    """The QCOW2 file that a delta goes into."""
    subprocess.run([programs.engine, "base-copy", "--source", f"file:{job.source}",
                    "--target-qcow2", job.target], check=True, stdout=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL, env={**os.environ, **EXPERT})
