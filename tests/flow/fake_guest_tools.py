#!/usr/bin/python3
"""virt-v2v-in-place, virt-inspector and qemu-img as tests want them: which one is meant says the name that
this file is called by, how it behaves says the directory in FAKE_GUEST_TOOLS.

    calls        a line of JSON for each call: program, arguments, environment
    behaviour    "convert" (as it comes), "fail", "hang", or "fill": of virt-v2v-in-place.  What fills its pool
                 (a tmpfs) hangs when there is no room, as libguestfs does: QEMU stops the guest
    amount       how many MiB more it writes, from 24 MiB on
    then         "shrink": when it has succeeded its pool (a tmpfs) has room for 4 MiB
    commit       of qemu-img commit: "hang", of the next one, once it has begun; "fail"; "full", of the next
                 one, whose pool (a tmpfs) has room for half a MiB
    inspection   what virt-inspector answers; without it, it fails

What converts writes 64 KiB of 0xa5 at 1 MiB into the first image.
"""

import json
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(os.environ["FAKE_GUEST_TOOLS"])
NAME = Path(sys.argv[0]).name
FEATURES = """virt-v2v-in-place
virt-v2v-in-place-2.0
in-place
input:disk
input:libvirtxml
convert:linux
block-driver-option
"""


def said(name):
    path = HERE / name
    return path.read_text().strip() if path.exists() else ""


def record():
    with open(HERE / "calls", "a") as calls:
        calls.write(json.dumps({"program": NAME, "argv": sys.argv[1:], "env": dict(os.environ)}) + "\n")


def hang():
    # As qemu-nbd and the appliance: it outlives virt-v2v, and holds the image.
    companion = subprocess.Popen(["sleep", "1000"])
    (HERE / "companion").write_text(str(companion.pid))
    (HERE / "hangs").touch()
    while True:
        time.sleep(60)


def leave_room(image, bytes_left):
    """Makes the file system, a tmpfs, so small that no more is left."""
    pool = Path(image).parent
    while not pool.is_mount():
        pool = pool.parent
    found = os.statvfs(pool)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    subprocess.run(["mount", "-o", f"remount,size={used + bytes_left}", pool], check=True)


def leak(image):
    """Counts a cluster at the end of the file as used that nothing refers to."""
    with open(image, "r+b") as file:
        cluster = 1 << struct.unpack(">I", file.read(24)[20:])[0]
        file.seek(48)
        table = struct.unpack(">Q", file.read(8))[0]
        file.seek(table)
        block = struct.unpack(">Q", file.read(8))[0]
        end = file.seek(0, os.SEEK_END)
        number = -(-end // cluster)
        assert number < cluster // 2
        file.truncate((number + 1) * cluster)
        file.seek(block + 2 * number)
        file.write(b"\0\1")


def qemu_img():
    argv = sys.argv[1:]
    if argv[0] == "commit" and said("commit") == "fail":
        sys.exit("qemu-img: Could not commit: Input/output error")
    if argv[0] == "commit" and said("commit") == "hang":
        (HERE / "commit").unlink()
        image = argv[-1]
        # What a commit leaves that is killed.
        subprocess.run(["/usr/bin/qemu-img", "commit", "-q", "-d", "-f", "qcow2", image], check=True)
        leak(json.loads(subprocess.run(["/usr/bin/qemu-img", "info", "--output=json", image], check=True,
                                       capture_output=True).stdout)["full-backing-filename"])
        hang()
    if argv[0] == "commit" and said("commit") == "full":
        (HERE / "commit").unlink()
        leave_room(argv[-1], 1 << 19)
    os.execv("/usr/bin/qemu-img", ["qemu-img", *argv])


def inspect():
    record()
    text = said("inspection")
    if not text:
        sys.exit("virt-inspector: no operating system could be detected inside this disk image.")
    print(text)


def images():
    if "libvirtxml" not in sys.argv:
        return [sys.argv[-1]]
    return re.findall(r"source file='([^']*)'", Path(sys.argv[-1]).read_text())


def write(image, pattern, at, length):
    return subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} {at} {length}", image],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def fill(image):
    leave_room(image, 1 << 20)
    at = 24 << 20
    while write(image, 0x5a, at, 65536) == 0:
        at += 65536
    hang()


def convert():
    if "--machine-readable" in sys.argv:
        print(FEATURES, end="")
        return
    if "--help" in sys.argv:
        print(said("help"))
        return
    record()
    print("[   0.0] Setting up the source: -i disk", flush=True)
    files = images()
    print("[   1.0] Converting the guest to run on KVM", flush=True)
    more = said("amount")
    if write(files[0], 0xa5, "1M", "64k") or (more and write(files[0], 0x5a, "24M", f"{more}M")):
        sys.exit("virt-v2v-in-place: error: a write failed")
    behaviour = said("behaviour")
    if behaviour == "fill":
        fill(files[0])
    if behaviour == "hang":
        hang()
    if behaviour == "fail":
        sys.exit("virt-v2v-in-place: error: no installed kernel packages were found.")
    print("[   2.0] Finishing off", flush=True)
    if said("then") == "shrink":
        leave_room(files[0], 4 << 20)


{"virt-v2v-in-place": convert, "virt-inspector": inspect, "qemu-img": qemu_img}[NAME]()
