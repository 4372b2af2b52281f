#!/usr/bin/python3
"""virt-v2v-in-place, virt-inspector and qemu-img as tests want them: which one is meant says the name that
this file is called by, how it behaves says the directory in FAKE_GUEST_TOOLS.

    calls        a line of JSON for each call: program, arguments, environment
    behaviour    "convert" (as it comes), "fail", or "hang": of virt-v2v-in-place
    commit       of qemu-img commit: "hang", of the next one, once it has begun; "fail"
    inspection   what virt-inspector answers; without it, it fails

What converts writes 64 KiB of 0xa5 at 1 MiB into the first image.
"""

import json
import os
import re
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


def qemu_img():
    argv = sys.argv[1:]
    if argv[0] == "commit" and said("commit") == "fail":
        sys.exit("qemu-img: Could not commit: Input/output error")
    if argv[0] == "commit" and said("commit") == "hang":
        (HERE / "commit").unlink()
        image = argv[-1]
        # Half of it: what a commit leaves that is killed.
        subprocess.run(["/usr/bin/qemu-img", "commit", "-q", "-d", "-f", "qcow2", image], check=True)
        hang()
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
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 0xa5 1M 64k", files[0]], check=True,
                   stdout=subprocess.DEVNULL)
    behaviour = said("behaviour")
    if behaviour == "hang":
        hang()
    if behaviour == "fail":
        sys.exit("virt-v2v-in-place: error: no installed kernel packages were found.")
    print("[   2.0] Finishing off", flush=True)


{"virt-v2v-in-place": convert, "virt-inspector": inspect, "qemu-img": qemu_img}[NAME]()
