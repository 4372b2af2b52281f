"""A Linux guest whose kernel has an NFS client: boots in seconds, runs a shell script, and powers off.

It is the distribution's kernel with an initramfs of this machine's own programs and their libraries.  All that it can
reach is the NFS server, at 10.0.2.100."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ganesha

TOP = Path(__file__).resolve().parent.parent.parent
SERVER = "10.0.2.100"
MOUNT_PORT = 20048
PROGRAMS = ["sh", "mount", "mount.nfs", "insmod", "ip", "cat", "mkdir", "stat"]
FILES = ["/etc/netconfig", "/etc/protocols", "/etc/services"]

INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done </modules/list
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
echo "--- guest is up"
sh /script
echo "--- guest is done"
echo s >/proc/sysrq-trigger
echo o >/proc/sysrq-trigger
while :; do read -r never; done
"""


def find(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def why_not():
    if ganesha.why_not():
        return ganesha.why_not()
    for name in [*PROGRAMS, "qemu-system-x86_64", "cpio"]:
        if not find(name):
            return f"{name} is not installed"
    return None


def kernel():
    """The folder of the kernel, which is made once and kept outside the tree."""
    done = subprocess.run([TOP / "lab/guest/build-guest.sh", "--kernel"], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=600)
    return Path(done.stdout.splitlines()[-1])


def libraries(program):
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", told)


def make_initramfs(root, programs, script, os_release):
    for name in ("bin", "proc", "sys", "dev", "etc", "mnt", "tmp", "run", "var/tmp"):
        (root / name).mkdir(parents=True)
    needed = set()
    for path in [*map(find, PROGRAMS), *programs]:
        shutil.copy(path, root / "bin" / Path(path).name)
        needed.update(libraries(path))
    for path in needed:
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path[1:])
    os.symlink("bin", root / "sbin")  # where mount looks for mount.nfs
    os.symlink("/proc/self/mounts", root / "etc/mtab")
    for path in filter(os.path.exists, FILES):
        shutil.copy(path, root / path[1:])
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{SERVER} nfs-server\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files\n")
    (root / "etc/os-release").write_text(os_release)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    (root / "script").write_text(script)
    shutil.copytree(kernel() / "nfs", root / "modules")
    image = root.with_suffix(".cpio")
    with open(image, "wb") as f:
        names = subprocess.run(["find", "."], cwd=root, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root, input=names, stdout=f,
                       check=True)
    shutil.rmtree(root)
    return image


def run(directory, server, script, programs=(), disks=(), os_release="ID=debian\n"):
    """What @script said, after "--- guest is up"; @server is a ganesha.Ganesha, @disks raw files: /dev/vda ..."""
    image = make_initramfs(Path(directory) / "initramfs", programs, script, os_release)
    forward = ",".join(f"guestfwd=tcp:{SERVER}:{port}-cmd:{sys.executable} {TOP}/tests/nfs/pipe.py {to}"
                       for port, to in ((2049, server.nfs), (MOUNT_PORT, server.mount)))
    command = ["qemu-system-x86_64", "-M", "pc,accel=tcg", "-cpu", "max", "-m", "768", "-nodefaults",
               "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", kernel() / "vmlinuz", "-initrd", image,
               "-append", "console=ttyS0,115200 quiet mitigations=off cryptomgr.notests no_timer_check panic=-1",
               "-netdev", f"user,id=net,restrict=on,{forward}", "-device", "virtio-net-pci,netdev=net"]
    for disk in disks:
        command += ["-drive", f"file={disk},format=raw,if=virtio,snapshot=on"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=240)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    (Path(directory) / "console.log").write_text(text)
    image.unlink()
    assert "--- guest is up" in text and "--- guest is done" in text, text[-3000:]
    return text.split("--- guest is up\n", 1)[1].split("--- guest is done", 1)[0]
