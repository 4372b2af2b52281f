#!/usr/bin/env python3
"""Makes the disk that the benchmarks copy: half random data in runs of 4 MiB, 15 % zeroes that were
written, the rest holes; the same bytes every time."""

import argparse
import os
import random

UNIT = 4 << 20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--gib", type=int, default=8, help="size of the disk (default 8)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    count = args.gib * 256
    kinds = ["data"] * (count // 2) + ["zero"] * (count * 15 // 100)
    kinds += ["hole"] * (count - len(kinds))
    rng.shuffle(kinds)
    fd = os.open(args.path, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
    os.ftruncate(fd, count * UNIT)
    zeroes = bytes(UNIT)
    for i, kind in enumerate(kinds):
        if kind == "data":
            os.pwrite(fd, rng.randbytes(UNIT), i * UNIT)
        elif kind == "zero":
            os.pwrite(fd, zeroes, i * UNIT)
    os.fsync(fd)
    os.close(fd)
    print(f"{args.path}: {args.gib} GiB, {kinds.count('data') * 4} MiB data,"
          f" {kinds.count('zero') * 4} MiB zeroes")


if __name__ == "__main__":
    main()
