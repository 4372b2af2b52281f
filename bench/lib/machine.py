"""What the figures are from: the machine, and the versions of everything."""

import os
import platform
import re
import subprocess


def first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return "not installed"
    return ((done.stdout + done.stderr).splitlines() or ["says nothing"])[0].strip()


def field(path, pattern):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            match = re.search(pattern, f.read(), re.MULTILINE)
    except OSError:
        return "unknown"
    return match[1] if match else "unknown"


def file_system(path):
    """Type of the file system that @path is on."""
    path, best, found = os.path.realpath(path), "", "unknown"
    with open("/proc/mounts", encoding="utf-8", errors="replace") as f:
        for line in f:
            _, point, kind = line.split()[:3]
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, found = point, kind
    return found


def revision(top):
    told = first_line("git", "-C", top, "describe", "--always", "--dirty", "--abbrev=10")
    return told if re.fullmatch(r"[\w.-]+", told) else "unknown"


def describe(top, tmpfs, disk):
    memory = field("/proc/meminfo", r"^MemTotal:\s+(\d+)")
    return {
        "processor": field("/proc/cpuinfo", r"^model name\s*:\s*(.+)$"),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / (1 << 20), 1) if memory.isdigit() else memory,
        "kernel": platform.release(),
        "system": field("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)'),
        "tmpfs": file_system(tmpfs),
        "disk": file_system(disk),
        "v2c-engine": revision(top),
        "qemu-img": first_line("qemu-img", "--version"),
        "nbdcopy": first_line("nbdcopy", "--version"),
        "nbdkit": first_line("nbdkit", "--version"),
    }
