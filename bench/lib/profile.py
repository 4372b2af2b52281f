"""Where the engine's time goes: its side of a row under perf, and the functions at the top."""

import os
import shutil
import subprocess

from lib.measure import Failed, Run

LINES = 40


def report(path):
    done = subprocess.run(["perf", "report", "--stdio", "--no-children", "-g", "none", "--percent-limit",
                           "0.5", "-i", path], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
    return lines[:LINES] or [f"perf report says: {done.stderr.strip()}"]


def print_profile(row_class, context):
    """Every case of the engine, once."""
    if not shutil.which("perf"):
        raise Failed("perf is not installed")
    with row_class(context) as row:
        path = row.path("perf.data")
        # By the clock: virtual machines often have no counters.
        context.prefix = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", path, "--"]
        row.prepare()
        for case in row.cases():
            if case.group not in ("engine", "no-digests", "limited", "single"):
                continue
            job = row.job(case)
            row.before(job)
            with Run(row.watched) as run:
                case.run(run, job)
                figures = run.finish()
            print(f"{row.name}, {case.name}: {figures['wall']:.2f} s wall, {figures['cpu']:.2f} s CPU")
            print("\n".join(report(path)), flush=True)
            for leftover in (job.target, path):
                if os.path.exists(leftover):
                    os.unlink(leftover)
    return 0
