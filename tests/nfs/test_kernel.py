"""The engine on a host whose kernel mounts the export, against the same real server: in a guest under QEMU."""

import json
import random
import subprocess

import pytest

import ganesha
import guest

from ganesha import BUILD

MIB = 1 << 20
SIZE = 24 * MIB
CHANGES = [(3 * MIB, 65536), (9 * MIB + 4096, 12288), (20 * MIB, 2 * MIB)]
POOLS = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"]
# What src/storage mounts with on Ubuntu; the rest is for a server without a portmapper, and a host without statd.
VERSION_3 = ("rw,relatime,vers=3,rsize=1048576,wsize=1048576,hard,proto=tcp,timeo=600,retrans=2,"
             f"nolock,port=2049,mountport={guest.MOUNT_PORT},mountproto=tcp")

SCRIPT = """
export V2C_ENABLE_EXPERT_COMMANDS=1
copy() {{ # POOL NAME
    v2c-engine base-copy --source file:/dev/vda --target-qcow2 "/mnt/$1/$2" && echo "$2: copied"
    v2c-engine delta-sync --source file:/dev/vdb --target-qcow2 "/mnt/$1/$2" --ranges-file /ranges && echo "$2: delta"
    v2c-engine qcow2 check "/mnt/$1/$2" && echo "$2: sound"
}}
cat >/ranges <<'RANGES'
{ranges}
RANGES
echo "--- mounted as the kernel likes it"
nfs-resolve {pools[0]} {server} {export}
cat /proc/mounts
echo "--- mounted already"
nfs-resolve {pools[0]} nfs-server {export}/
echo "--- another export"
nfs-resolve {pools[0]} {server} {export}/other
echo "--- one that is not exported"
V2C_NFS_MOUNT_OPTS=vers=4.2 nfs-resolve 33333333-3333-3333-3333-333333333333 {server} /nowhere
echo "--- version 3"
V2C_NFS_MOUNT_OPTS={options} nfs-resolve {pools[1]} {server} {export}
cat /proc/mounts
echo "--- shared mount points"
mkdir /shared /mnt/{pools[0]}/below
for path in /mnt/{pools[0]} /mnt/{pools[0]}/below /shared; do
    nfs-resolve {pools[0]} - $path shared
done
mount --bind /mnt/{pools[0]}/below /shared
nfs-resolve {pools[0]} - /shared shared
echo "--- server out of reach"
ip link set eth0 down
nfs-resolve {pools[0]} {server} {export} mount 3000
nfs-resolve {pools[0]} - /mnt/{pools[0]}/below shared 3000
ip link set eth0 up
ip address replace 10.0.2.15/24 dev eth0
nfs-resolve {pools[0]} {server} {export}
echo "--- copies"
copy {pools[0]} newest.qcow2
copy {pools[1]} third.qcow2
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """(what the guest said, by its part; the export's directory; the disk as it must be)"""
    if guest.why_not():
        pytest.skip(guest.why_not())
    directory = tmp_path_factory.mktemp("kernel")
    export = directory / "export"
    export.mkdir()
    before, after = directory / "before.raw", directory / "after.raw"
    content = bytearray(random.Random(1).randbytes(SIZE // 2) + bytes(SIZE // 2))
    before.write_bytes(content)
    for offset, length in CHANGES:
        content[offset:offset + length] = random.Random(offset).randbytes(length)
    after.write_bytes(content)
    ranges = json.dumps([{"start": offset, "length": length} for offset, length in CHANGES])
    server = ganesha.Ganesha(directory / "nfs", export, keeps=False, protocols="3, 4")
    try:
        text = guest.run(directory, server,
                         SCRIPT.format(pools=POOLS, server=guest.SERVER, export=export, options=VERSION_3,
                                       ranges=ranges),
                         [BUILD / "src/cli/v2c-engine", BUILD / "tests/nfs/nfs-resolve"], [before, after])
    finally:
        server.kill()
    print(text)
    parts = dict(part.split("\n", 1) for part in text.split("--- ")[1:])
    return parts, export, after


def mount_of(text, pool):
    """(source, type, options) of what is mounted for a pool."""
    found = [line.split() for line in text.splitlines() if f" /mnt/{pool} " in line]
    assert len(found) == 1, text
    return found[0][0], found[0][2], found[0][3].split(",")


def test_pool_is_mounted_with_the_newest_version_that_both_know(seen):
    parts, export, _ = seen
    text = parts["mounted as the kernel likes it"]
    assert f"pool is /mnt/{POOLS[0]}\n" in text
    source, kind, options = mount_of(text, POOLS[0])
    assert (source, kind) == (f"{guest.SERVER}:{export}", "nfs4")
    assert "vers=4.2" in options and "rw" in options and "hard" in options


def test_options_of_the_environment_are_used(seen):
    parts, export, _ = seen
    text = parts["version 3"]
    assert f"pool is /mnt/{POOLS[1]}\n" in text
    _, kind, options = mount_of(text, POOLS[1])
    assert kind == "nfs"
    assert {"vers=3", "rsize=1048576", "wsize=1048576", "hard", "timeo=600", "retrans=2"} <= set(options)


def test_mount_that_is_there_is_used_also_under_another_name_of_the_server(seen):
    assert seen[0]["mounted already"] == f"pool is /mnt/{POOLS[0]}\n"


def test_another_export_at_that_place_is_refused(seen):
    assert seen[0]["another export"].startswith("refused: ")
    assert "unmount it" in seen[0]["another export"]


def test_export_that_the_server_does_not_have_is_refused_with_what_mount_says(seen):
    text = seen[0]["one that is not exported"]
    assert text.startswith("refused: ") and "mounting" in text and "No such file or directory" in text


def test_shared_mount_point_is_a_mount_or_inside_a_shared_file_system(seen):
    lines = seen[0]["shared mount points"].splitlines()
    mounted = f"/mnt/{POOLS[0]}"
    assert lines[:2] == [f"pool is {mounted}", f"pool is {mounted}/below"]
    assert "nothing is mounted at /shared" in lines[2] and "allow_unmounted_paths" in lines[2]
    assert lines[3] == "pool is /shared"  # once something is


def test_server_out_of_reach_is_told_in_time_and_used_again_when_it_answers(seen):
    lines = seen[0]["server out of reach"].splitlines()
    assert all(line.startswith("refused: ") and "does not answer within 3 s" in line for line in lines[:2])
    assert lines[2] == f"pool is /mnt/{POOLS[0]}"


@pytest.mark.parametrize("name", ["newest.qcow2", "third.qcow2"])
def test_copy_and_delta_through_the_mount_are_on_the_server(seen, name):
    parts, export, after = seen
    for word in ("copied", "delta", "sound"):
        assert f"{name}: {word}\n" in parts["copies"]
    path = export / name
    subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", after, path], check=True)
    subprocess.run(["qemu-img", "check", "-q", path], check=True)
