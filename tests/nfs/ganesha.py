"""A real NFS server (nfs-ganesha) on loopback ports, without a portmapper."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

BUILD = Path(os.environ["V2C_BUILD_DIR"])
PRELOAD = BUILD / "tests/nfs/libnfs-preload.so"

CONFIG = """
NFS_CORE_PARAM {{
    Bind_addr = {address}; NFS_Port = {nfs}; MNT_Port = {mount};
    Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
    Protocols = {protocols}; mount_path_pseudo = true;
}}
NFSv4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{dir}/recovery"; }}
EXPORT_DEFAULTS {{ Access_Type = {access}; Squash = {squash}; SecType = sys; Transports = TCP;
                  Protocols = {protocols}; PrivilegedPort = false; }}
EXPORT {{ Export_Id = 1; Path = {export}; Pseudo = {export}; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""


def why_not():
    if os.geteuid() != 0:
        return "nfs-ganesha opens files by handle, which needs root"
    if not shutil.which("ganesha.nfsd"):
        return "nfs-ganesha is not installed"
    return None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Ganesha:
    def __init__(self, directory, export, access="RW", squash="No_Root_Squash", keeps=True, protocols="3"):
        """With @keeps it keeps copies of what is committed, for lose_what_is_not_committed."""
        self.keeps = keeps
        self.dir = Path(directory)
        (self.dir / "recovery").mkdir(parents=True)
        (self.dir / "committed").mkdir()
        self.export = Path(export)
        self.nfs, self.mount = free_port(), free_port()
        (self.dir / "ganesha.conf").write_text(CONFIG.format(
            address="127.0.0.1", nfs=self.nfs, mount=self.mount, dir=self.dir, export=export, access=access,
            squash=squash, protocols=protocols))
        self.process = None
        self.second = 0
        self.start()

    @property
    def ports(self):
        return f"{self.nfs},{self.mount}"

    @property
    def url(self):
        return f"nfs://127.0.0.1:{self.ports}"

    def start(self):
        while int(time.time()) <= self.second + 1:  # its write verifier is the second in which it starts
            time.sleep(0.05)
        self.second = int(time.time())
        env = {**os.environ, "LD_PRELOAD": str(PRELOAD)}
        if self.keeps:
            env["V2C_COMMITTED"] = str(self.dir / "committed")
        self.process = subprocess.Popen(
            ["ganesha.nfsd", "-F", "-f", self.dir / "ganesha.conf", "-L", self.dir / "ganesha.log",
             "-p", self.dir / "ganesha.pid", "-N", "NIV_EVENT"],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                for port in (self.nfs, self.mount):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.dir / "ganesha.log").read_text()[-2000:]
                assert time.monotonic() < end, "nfs-ganesha does not listen"
                time.sleep(0.05)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def lose_what_is_not_committed(self):
        """Each file is as it was when it was last synced; none of it while the server runs.  Returns how many bytes
        were taken back."""
        lost = 0
        for path in self.export.glob("*.qcow2"):
            kept = self.dir / "committed" / str(path.stat().st_ino)
            after = pieces(kept) if kept.exists() else {}
            before = pieces(path)
            lost += sum(len(data) for at, data in before.items() if after.get(at) != data)
            with open(path, "r+b") as f:  # the same inode, so that handles go on to be valid
                f.truncate(0)
                for at, data in after.items():
                    f.seek(at)
                    f.write(data)
                f.truncate(kept.stat().st_size if kept.exists() else 0)
        return lost


def pieces(path, size=65536):
    """{offset: bytes} of a sparse file."""
    found, at = {}, 0
    with open(path, "rb") as f:
        while True:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA) // size * size
            except OSError:
                return found
            f.seek(at)
            found[at] = f.read(size)
            at += size
