#!/usr/bin/env python3
"""Copies one half-full raw disk into QCOW2 with this program and with its peers, side by side: rounds
interleaved, medians of wall time, of the CPU time of every process taking part, and of peak memory.

CPU seconds are the figure to compare: wall time on a shared disk says little.  docs/internals/bench.md
says what is compared with what, and why."""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Without these qemu-nbd gives every request's buffer back to the kernel and faults in the next one.
TUNABLES = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1073741824:glibc.malloc.top_pad=67108864"


class Run:
    """Wall, CPU (user + system) and the largest resident set of the processes of one copy."""

    def __init__(self):
        self.cpu, self.rss_mib, self.begin = 0.0, 0.0, time.monotonic()
        self.wall = 0.0

    def start(self, argv, env=None):
        return subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def reap(self, process, accept=(0,)):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in accept:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode}")
        self.cpu += usage.ru_utime + usage.ru_stime
        self.rss_mib = max(self.rss_mib, usage.ru_maxrss / 1024)

    def call(self, argv, env=None):
        self.reap(self.start(argv, env))

    def done(self):
        self.wall = time.monotonic() - self.begin


def drop_cache(path):
    """So that every tool finds the source cold."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def tuned(env_on):
    return dict(os.environ, GLIBC_TUNABLES=TUNABLES) if env_on else None


def engine(args, run, sources, targets, extra=()):
    argv = [os.path.join(args.build, "bench", "v2c-copy"), *extra]
    for source, target in zip(sources, targets):
        argv += [source, target]
    run.call(argv)


def convert(run, sources, targets, env):
    flags = "-W -m 16 -t none -T none -f raw -O qcow2".split()
    running = [run.start(["qemu-img", "convert", *flags, s, t], env)
               for s, t in zip(sources, targets)]
    for process in running:
        run.reap(process)


def wait_for(path, process):
    deadline = time.monotonic() + 20
    while not os.path.exists(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("qemu-nbd does not answer")
        time.sleep(0.002)


def nbd(run, sources, targets, env):
    servers, clients = [], []
    for source, target in zip(sources, targets):
        size = str(os.path.getsize(source))
        run.call(["qemu-img", "create", "-q", "-f", "qcow2", target, size])
        socket = target + ".sock"
        server = run.start(["qemu-nbd", "-t", "-f", "qcow2", "-k", socket, "--cache=none",
                            "--aio=io_uring", "--discard=unmap", target], env)
        wait_for(socket, server)
        servers.append(server)
        clients.append(run.start(["nbdcopy", "--destination-is-zero", "--flush",
                                  "--request-size=1048576", source,
                                  f"nbd+unix:///?socket={socket}"], env))
    for client in clients:
        run.reap(client)
    for server in servers:
        server.send_signal(signal.SIGTERM)
        run.reap(server, accept=(0, -signal.SIGTERM))


CASES = {
    "engine": lambda a, r, s, t: engine(a, r, s, t),
    "qemu-img convert": lambda a, r, s, t: convert(r, s, t, None),
    "qemu-img convert, tuned": lambda a, r, s, t: convert(r, s, t, tuned(True)),
    "nbdcopy -> qemu-nbd": lambda a, r, s, t: nbd(r, s, t, None),
    "nbdcopy -> qemu-nbd, tuned": lambda a, r, s, t: nbd(r, s, t, tuned(True)),
}


def verify(source, target, name):
    check = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", target], check=False)
    same = subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", source, target],
                          check=False)
    if check.returncode or same.returncode:
        raise SystemExit(f"{name}: check {check.returncode}, compare {same.returncode}")


def one_round(args, sources, directory, results, first):
    for name in args.cases:
        targets = [os.path.join(directory, f"out{i}.qcow2") for i in range(len(sources))]
        for source in sources:
            drop_cache(source)
        os.sync()
        run = Run()
        CASES[name](args, run, sources, targets)
        run.done()
        results[name].append(run)
        if first:
            verify(sources[0], targets[0], name)
        for target in targets:
            os.unlink(target)
        print(f"  {name}: {run.wall:.2f} s wall, {run.cpu:.2f} s CPU, {run.rss_mib:.0f} MiB",
              file=sys.stderr)


def table(args, results, base):
    lines = [f"{args.gib} GiB disk, half data; {args.disks} at once; {args.rounds} rounds; medians,"
             " [least-most]", "",
             "| case | wall s | CPU s | CPU / engine | peak MiB of one process |",
             "|---|---|---|---|---|"]
    for name, runs in results.items():
        wall = sorted(r.wall for r in runs)
        cpu = sorted(r.cpu for r in runs)
        ratio = statistics.median(cpu) / base
        lines.append(f"| {name} | {statistics.median(wall):.2f} [{wall[0]:.2f}-{wall[-1]:.2f}]"
                     f" | {statistics.median(cpu):.2f} [{cpu[0]:.2f}-{cpu[-1]:.2f}]"
                     f" | {ratio:.2f} | {max(r.rss_mib for r in runs):.0f} |")
    return "\n".join(lines) + "\n"


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "build"))
    parser.add_argument("--dir", default=".", help="where disks and copies go")
    parser.add_argument("--source", help="an existing disk instead of a generated one")
    parser.add_argument("--gib", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--disks", type=int, default=1, help="copies at once")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--write", metavar="FILE", help="also write the table there")
    args = parser.parse_args()
    if "engine" not in args.cases:
        args.cases.insert(0, "engine")
    return args


def main():
    args = parse()
    results = {name: [] for name in args.cases}
    directory = tempfile.mkdtemp(prefix="v2c-bench-", dir=args.dir)
    try:
        sources = []
        for i in range(args.disks):
            source = args.source or os.path.join(directory, f"disk{i}.raw")
            if not args.source:
                subprocess.run([os.path.join(HERE, "make-disk.py"), source, "--gib", str(args.gib),
                                "--seed", str(i + 1)], check=True, stdout=subprocess.DEVNULL)
            sources.append(source)
        for i in range(args.rounds):
            print(f"round {i + 1}", file=sys.stderr)
            one_round(args, sources, directory, results, i == 0)
    finally:
        shutil.rmtree(directory)
    text = table(args, results, statistics.median(r.cpu for r in results["engine"]))
    print(text)
    if args.write:
        os.makedirs(os.path.dirname(os.path.abspath(args.write)), exist_ok=True)
        with open(args.write, "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
