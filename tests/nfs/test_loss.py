"""A server that acknowledged writes, and restarted without them."""

import subprocess

import pytest

import ganesha

from ganesha import BUILD

BLOCKS = 32  # of 64 KiB


def write_and_lose(server, *arguments):
    """Writes blocks, restarts the server without what was not committed, writes others, syncs; what the program said,
    and how many blocks of both kinds the server has."""
    path = server.export / "disk.qcow2"
    program = subprocess.Popen([BUILD / "tests/nfs/nfs-write", f"{server.url}{path}", *arguments],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout.readline() == "written\n"
    server.kill()
    assert server.lose_what_is_not_committed() > 0
    server.start()
    said, _ = program.communicate("go on\n", timeout=60)
    data = path.read_bytes()
    return said, sum(data[i << 16:(i << 16) + 4] == b"v2c!" for i in range(2 * BLOCKS))


def test_loss_is_told_at_the_sync_and_what_is_written_again_is_there(server):
    said, _ = write_and_lose(server)
    assert "Remote I/O error" in said
    path = server.export / "disk.qcow2"
    path.unlink()
    again = subprocess.run([BUILD / "tests/nfs/nfs-write", f"{server.url}{path}"], input="go on\n", text=True,
                           stdout=subprocess.PIPE, timeout=60)
    assert again.stdout == "written\nsynced\n"
    data = path.read_bytes()
    assert all(data[i << 16:(i << 16) + 4] == b"v2c!" for i in range(2 * BLOCKS))


def test_without_looking_at_the_verifier_the_loss_would_go_unseen(server):
    said, blocks = write_and_lose(server, "ignore")
    assert said == "synced\n"  # a lie
    assert blocks == BLOCKS  # only those after the restart


def test_file_that_is_gone_is_told(server):
    path = server.export / "disk.qcow2"
    program = subprocess.Popen([BUILD / "tests/nfs/nfs-write", f"{server.url}{path}"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout.readline() == "written\n"
    server.kill()
    path.unlink()
    server.start()
    said, _ = program.communicate("go on\n", timeout=60)
    assert "Stale file handle" in said


def test_full_export_is_told(tmp_path):
    if ganesha.why_not():
        pytest.skip(ganesha.why_not())
    export = tmp_path / "export"
    export.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", export], check=True)
    server = None
    try:
        server = ganesha.Ganesha(tmp_path / "nfs", export)
        done = subprocess.run([BUILD / "tests/nfs/nfs-write", f"{server.url}{export}/disk.qcow2"],
                              input="go on\n", text=True, stdout=subprocess.PIPE, timeout=60)
        assert "No space left on device" in done.stdout
    finally:
        if server:
            server.kill()
        subprocess.run(["umount", "-l", export], check=True)
