#!/usr/bin/env python3
"""The disks that the benchmarks copy, and changes of them; the same bytes every time.

Run as a program, so that the memory it takes is not that of the process which measures:

    data.py make half|full|sparse|thin FILE --mib SIZE [--data-mib N] [--seed N]
    data.py change 64k|odd FILE RANGES --count N [--seed N]

half: 50 % data in runs of 4 MiB, 15 % zeroes that were written, the rest holes.  full: data throughout.
sparse: data in runs of 4 MiB, scattered.  thin: data in 128 runs, the first at the start and the last at
the end.  change writes new data over scattered ranges, and lists them in RANGES.json (for delta-sync)
and RANGES.txt (a line `offset length` each)."""

import argparse
import json
import os
import random
import subprocess
import sys

MIB = 1 << 20
UNIT = 4 * MIB
BLOCK = 8 * MIB
THIN_RUNS = 128
PAGE = 4096


class Bytes:
    """Random bytes without end: views of one block, each from another place, so that no two pages of
    a disk are alike within 16 GiB."""

    def __init__(self, seed):
        self.block = memoryview(random.Random(seed).randbytes(BLOCK))
        self.count = 0

    def next(self, length):
        self.count += 1
        start = self.count * (3 * PAGE + 1) % (BLOCK - UNIT)
        return self.block[start:start + length]


def write_run(fd, data, offset, length):
    for at in range(offset, offset + length, UNIT):
        piece = data.next(min(UNIT, offset + length - at))
        if os.pwrite(fd, piece, at) != len(piece):
            raise OSError("short write")


def half(fd, size, _, data, seed):
    count = size // UNIT
    kinds = ["data"] * (count // 2) + ["zero"] * (count * 15 // 100)
    kinds += ["hole"] * (count - len(kinds))
    random.Random(seed).shuffle(kinds)
    zeroes = bytes(UNIT)
    for i, kind in enumerate(kinds):
        if kind == "data":
            write_run(fd, data, i * UNIT, UNIT)
        elif kind == "zero":
            os.pwrite(fd, zeroes, i * UNIT)


def full(fd, size, _, data, seed):
    write_run(fd, data, 0, size)


def sparse(fd, size, data_bytes, data, seed):
    for i in sorted(random.Random(seed).sample(range(size // UNIT), data_bytes // UNIT)):
        write_run(fd, data, i * UNIT, UNIT)


def thin(fd, size, data_bytes, data, seed):
    run = data_bytes // THIN_RUNS
    for i in range(THIN_RUNS):
        place = (size - run) * i // (THIN_RUNS - 1)
        write_run(fd, data, place // MIB * MIB, run)


KINDS = {"half": half, "full": full, "sparse": sparse, "thin": thin}


def make(args):
    fd = os.open(args.path, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
    os.ftruncate(fd, args.mib * MIB)
    KINDS[args.kind](fd, args.mib * MIB, args.data_mib * MIB, Bytes(args.seed), args.seed)
    os.fsync(fd)
    os.close(fd)


def ranges_64k(size, count, rng):
    return [(slot * 64 * 1024, 64 * 1024) for slot in rng.sample(range(size // (64 * 1024)), count)]


def ranges_odd(size, count, rng):
    """1 to 15 pages, anywhere within a place of 128 KiB of its own."""
    found = []
    for slot in rng.sample(range(size // (128 * 1024)), count):
        pages = rng.randint(1, 15)
        found.append((slot * 128 * 1024 + rng.randint(0, 32 - pages) * PAGE, pages * PAGE))
    return found


def change(args):
    rng, data = random.Random(args.seed), Bytes(args.seed)
    fd = os.open(args.path, os.O_RDWR)
    kind = {"64k": ranges_64k, "odd": ranges_odd}[args.kind]
    ranges = sorted(kind(os.fstat(fd).st_size, args.count, rng))
    for offset, length in ranges:
        os.pwrite(fd, data.next(length), offset)
    os.fsync(fd)
    os.close(fd)
    with open(args.ranges + ".json", "w", encoding="ascii") as f:
        json.dump([{"start": offset, "length": length} for offset, length in ranges], f)
    with open(args.ranges + ".txt", "w", encoding="ascii") as f:
        f.writelines(f"{offset} {length}\n" for offset, length in ranges)
    print(sum(length for _, length in ranges))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    command.add_argument("kind", choices=KINDS)
    command.add_argument("path")
    command.add_argument("--mib", type=int, required=True)
    command.add_argument("--data-mib", type=int, default=0)
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(call=make)
    command = commands.add_parser("change")
    command.add_argument("kind", choices=["64k", "odd"])
    command.add_argument("path")
    command.add_argument("ranges")
    command.add_argument("--count", type=int, required=True)
    command.add_argument("--seed", type=int, default=2)
    command.set_defaults(call=change)
    args = parser.parse_args()
    args.call(args)


def run(*arguments):
    """The same as the command line, from the benchmarks; what it printed."""
    argv = [sys.executable, os.path.abspath(__file__), *map(str, arguments)]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
