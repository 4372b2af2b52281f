"""Runs a row: its cases in interleaved rounds, each verified once."""

import os
import shutil
import subprocess
import sys
import tempfile

from lib import measure
from lib.cases import MALLOC_SUFFIX, Job
from lib.checks import Results
from lib.measure import Failed, Run


class Context:
    """What all rows share."""

    def __init__(self, programs, tmpfs, disk, mib, rounds, is_quick):
        self.programs, self.mib, self.rounds, self.is_quick = programs, mib, rounds, is_quick
        self.places = {"tmpfs": tmpfs, "disk": disk}
        self.prefix = []  # before the engine's commands


def say(text):
    print(text, file=sys.stderr, flush=True)


def can_be_direct(directory):
    """Whether the file system takes O_DIRECT; tmpfs does since Linux 6.6."""
    path = os.path.join(directory, "direct")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600))
    except OSError:
        return False
    finally:
        if os.path.exists(path):
            os.unlink(path)
    return True


class Row:
    """One line of the table.  A subclass says what is compared, and what must hold."""

    name = ""
    title = ""  # as the table calls it
    place = "tmpfs"
    most_rounds = None  # more prove nothing
    is_extra = False  # not run unless named
    is_warmed_up = True  # by one run that does not count
    judged = ()  # (measure, groups of cases) that a limit is drawn from
    contenders = 3  # of each, that run in every round
    data_mib = 0  # what one copy moves, once prepared
    disks_mib = 0  # disks and copies at most, per MiB of --size

    def __init__(self, context):
        self.context = context
        self.programs = context.programs
        self.directory = self.sockets = None
        self.watched = []

    def __enter__(self):
        where = self.context.places[self.place]
        need, have = self.disks_mib * self.context.mib, shutil.disk_usage(where).free >> 20
        if need > have:
            raise Failed(f"{where} has {have} MiB free, {need:.0f} are needed")
        self.directory = tempfile.mkdtemp(prefix="v2c-bench-", dir=where)
        self.sockets = tempfile.mkdtemp(prefix="v2c-bench-", dir=self.context.places["tmpfs"])
        return self

    def __exit__(self, *_):
        self.close()
        shutil.rmtree(self.directory)
        shutil.rmtree(self.sockets)

    def close(self):
        pass

    def path(self, name):
        return os.path.join(self.directory, name)

    def prepare(self):
        raise NotImplementedError

    def cases(self):
        raise NotImplementedError

    def checks(self, results):
        raise NotImplementedError

    def job(self, case):
        source = case.source or self.path("source.raw")
        return Job(source=source, target=self.path("target"), size=os.path.getsize(source),
                   sockets=self.sockets, prefix=self.context.prefix)

    def before(self, job):
        """Not measured."""

    def after(self, run, case, job):
        """The last part of what is measured."""

    def figures(self, case, job):
        """More figures of a run, once it is over."""
        return {}

    def remove(self, job):
        if os.path.exists(job.target):
            os.unlink(job.target)

    def verify(self, case, job):
        kind = "raw" if case.is_raw else "qcow2"
        commands = [["compare", "-q", "-f", "raw", "-F", kind, job.source, job.target]]
        if not case.is_raw:
            commands.append(["check", "-q", "-f", "qcow2", job.target])
        for command in commands:
            done = subprocess.run(["qemu-img", *command], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Failed(f"{case.name}: qemu-img {command[0]} says {done.returncode}: "
                             f"{(done.stdout + done.stderr).strip()}")


def run_case(row, case, is_verified=False):
    """The figures of one run."""
    job = row.job(case)
    row.before(job)
    if not row.context.is_quick:
        measure.wait_until_quiet()
    with Run(row.watched) as run:
        case.run(run, job)
        row.after(run, case, job)
        figures = run.finish()
    figures.update(row.figures(case, job))
    if is_verified:
        row.verify(case, job)
    row.remove(job)
    for name in os.listdir(row.sockets):
        if name.endswith(".sock"):
            os.unlink(os.path.join(row.sockets, name))
    return figures


def rotated(items, number):
    number %= len(items)
    return items[number:] + items[:number]


def measure_row(row):
    """The results of a prepared row."""
    results, cases = Results(), row.cases()
    rounds = min(row.context.rounds, row.most_rounds or row.context.rounds)
    if row.is_warmed_up and not row.context.is_quick:
        run_case(row, cases[0])  # so that nobody's first run finds cold memory
    for number in range(rounds):
        for case in rotated(cases, number):
            # With other malloc settings it is the same program, and has been verified without them.
            is_verified = number == 0 and not case.name.endswith(MALLOC_SUFFIX)
            figures = run_case(row, case, is_verified)
            results.add(case, number, figures)
            say(f"  {row.name} {number + 1}/{rounds} {case.name}: {figures['wall']:.2f} s wall, "
                f"{figures['cpu']:.2f} s CPU, {figures['rss_mib']:.0f} MiB, "
                f"others {figures['foreign']:.2f} s")
        if number == 0 and rounds > 1:
            dropped = results.hopeless(row.judged, row.contenders)
            cases = [case for case in cases if case.name not in dropped]
    return results
