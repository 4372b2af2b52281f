"""A server on the ports that everybody uses, with a portmapper that names mountd's: in a network of its own."""

import os
import subprocess

import pytest

import ganesha

from ganesha import BUILD

POOL = "11111111-1111-1111-1111-111111111111"
ADDRESSES = {"IPv4": "192.0.2.1", "IPv6": "fd00:2::1"}

# Mounts and processes go with it.  The portmapper's clients find it by a socket in /run.
INSIDE = """
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add server type veth peer name other
ip address add {addresses[IPv4]}/24 dev server
ip address add {addresses[IPv6]}/64 dev server nodad
ip link set server up
ip link set other up
rpcbind -f &
until rpcinfo -p >/dev/null 2>&1; do sleep 0.05; done
ganesha.nfsd -F -f {dir}/ganesha.conf -L {dir}/ganesha.log -p {dir}/ganesha.pid -N NIV_EVENT >/dev/null 2>&1 &
until rpcinfo -t {addresses[IPv4]} nfs 3 && rpcinfo -t {addresses[IPv4]} mountd 3; do sleep 0.05; done >/dev/null 2>&1
set +e
"""


@pytest.fixture
def inside(tmp_path):
    """inside(commands) -> what they said, on a machine with such a server."""
    if ganesha.why_not():
        pytest.skip(ganesha.why_not())
    export = tmp_path / "export"
    export.mkdir()
    (tmp_path / "recovery").mkdir()
    (tmp_path / "ganesha.conf").write_text(ganesha.CONFIG.format(
        address="::", nfs=2049, mount=0, dir=tmp_path, export=export, access="RW", squash="No_Root_Squash",
        protocols="3"))

    def run(commands):
        script = INSIDE.format(dir=tmp_path, addresses=ADDRESSES) + commands.format(export=export)
        env = {**os.environ, "V2C_NFS_PORTS": "", "V2C_RETRY_SCALE": "0.05"}
        done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                               "sh", "-c", script],
                              env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=90)
        return done.stdout

    return run


@pytest.mark.parametrize("family", ADDRESSES)
def test_export_is_found_and_written_by_its_server_alone(inside, tmp_path, family):
    address = ADDRESSES[family]
    host = f"[{address}]" if ":" in address else address
    said = inside(f"{BUILD}/tests/nfs/nfs-resolve {POOL} {address} {{export}} userspace\n"
                  f"echo go on | {BUILD}/tests/nfs/nfs-write nfs://{host}{{export}}/disk.qcow2\n")
    assert said.splitlines() == [f"pool is nfs://{host}{tmp_path}/export", "written", "synced"]
    assert (tmp_path / "export/disk.qcow2").read_bytes()[:4] == b"v2c!"


def test_server_that_is_gone_is_told(inside):
    said = inside(f"kill $!\nwait $!\n{BUILD}/tests/nfs/nfs-resolve {POOL} {ADDRESSES['IPv4']} {{export}} userspace\n")
    assert said.startswith("refused: ") and "showmount" not in said and "NFS server runs" in said
