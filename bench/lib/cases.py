"""What is run side by side: a case is one way to do a job."""

import os
from dataclasses import dataclass, field
from typing import Callable

MALLOC_SUFFIX = ", malloc"  # of the name of a peer's case that runs with peers.MALLOC


@dataclass
class Job:
    """One copy, or one delta."""

    source: str  # path of a raw file
    target: str  # path of the file to make, or of the QCOW2 file to change
    size: int  # bytes of the disk
    sockets: str  # a directory with a short name
    uri: str = ""  # the NBD export to read instead of `source`
    ranges: str = ""  # path of the changes without .json or .txt
    prefix: list = field(default_factory=list)  # before the engine's command: perf

    def socket(self, name):
        return os.path.join(self.sockets, name)


@dataclass
class Case:
    name: str
    group: str  # "engine", "raw", "qemu-img", "nbdcopy", "libnbd"
    run: Callable  # (Run, Job)
    source: str = ""  # of rows with several disks: which
    is_raw: bool = False  # its target is no QCOW2 file


def nbd_uri(socket):
    return f"nbd+unix:///?socket={socket}"
