"""`qcow2` and `doctor`: what they tell is true, and they fail where they should."""

import json
import os
import random
import subprocess

import pytest
import yaml

from harness import ENGINE, synthetic

MIB = 1 << 20


def call(*arguments, cwd=None, **env):
    return subprocess.run([ENGINE, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env={**os.environ, **env})


def write_ours(tmp_path):
    r = random.Random(3)
    with open(tmp_path / "a.raw", "wb") as f:
        f.truncate(700 * MIB + 512)  # two L2 tables, and an odd end
        for at in (0, 3 * MIB, 5 * MIB + 4096, 600 * MIB, 700 * MIB):
            f.seek(at)
            f.write(r.randbytes(512 if at == 700 * MIB else 200 * 1024))
    path = tmp_path / "ours.qcow2"
    done = call("base-copy", "--source", f"file:{tmp_path}/a.raw", "--target-qcow2", path,
                V2C_ENABLE_EXPERT_COMMANDS="1")
    assert done.returncode == 0, done.stderr
    return path


def write_foreign(tmp_path):
    """Made by QEMU: zero clusters with and without a place, and discarded ones."""
    path = tmp_path / "foreign.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "600M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", "-c", "write -P 2 599M 1M",
                    "-c", "write -z 256k 128k", "-c", "write -z 10M 1M", "-c", "write -P 3 540M 300k", path],
                   check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.mark.parametrize("write", [write_ours, write_foreign])
def test_map_is_what_qemu_img_says(tmp_path, write):
    path = write(tmp_path)
    theirs = json.loads(subprocess.run(["qemu-img", "map", "--output=json", path], check=True,
                                       capture_output=True).stdout)
    done = call("qcow2", "map", path, "--json")
    assert done.returncode == 0, done.stderr

    def spread(runs):
        """Per page, data and its place; both may cut runs as they like.  (QEMU also says `zero` of data
        that is a hole in the file, which is no matter of the format.)"""
        return {at: r["offset"] + at - r["start"] if r["data"] else None
                for r in runs for at in range(r["start"], r["start"] + r["length"], 4096)}

    ours = json.loads(done.stdout)
    assert spread(ours) == spread(theirs)
    assert all(r["zero"] != r["data"] for r in ours)
    assert ours[0]["start"] == 0
    for a, b in zip(ours, ours[1:]):
        assert a["start"] + a["length"] == b["start"]
    size = json.loads(subprocess.run(["qemu-img", "info", "--output=json", path], check=True,
                                     capture_output=True).stdout)["virtual-size"]
    assert ours[-1]["start"] + ours[-1]["length"] == size
    assert len(call("qcow2", "map", path).stdout.splitlines()) == len(ours) + 1


def test_info_tells_whose_a_file_is(tmp_path):
    ours = json.loads(call("qcow2", "info", "--json", write_ours(tmp_path)).stdout)
    assert ours["is_ours"] and ours["is_finished"] and ours["owner"] == "expert" and not ours["is_in_use"]
    assert ours["virtual_size"] == 700 * MIB + 512 and ours["leaked_clusters"] == 0
    foreign = json.loads(call("qcow2", "info", write_foreign(tmp_path), "--json").stdout)
    assert not foreign["is_ours"] and foreign["owner"] is None and foreign["zero_clusters"] > 0
    assert "made by this program, finished" in call("qcow2", "info", tmp_path / "ours.qcow2").stdout


def test_check_fails_for_what_is_broken_and_counts_what_is_leaked(tmp_path):
    path = write_ours(tmp_path)
    done = call("qcow2", "check", path, "--importable")
    assert done.returncode == 0 and "no errors" in done.stdout
    data = bytearray(path.read_bytes())
    table = int.from_bytes(data[48:56], "big")
    block = int.from_bytes(data[table:table + 8], "big")
    leaky = bytearray(data)
    leaky[block + 2:block + 4] = b"\0\2"  # the second cluster counted twice
    (tmp_path / "leaky.qcow2").write_bytes(leaky)
    done = call("qcow2", "check", "--json", tmp_path / "leaky.qcow2")
    assert done.returncode == 3 and json.loads(done.stdout)["leaks"] == 1
    assert "1 clusters are counted and not used" in call("qcow2", "check", tmp_path / "leaky.qcow2").stdout
    assert call("qcow2", "check", "--importable", tmp_path / "leaky.qcow2").returncode == 1
    broken = bytearray(data)
    broken[block + 2:block + 4] = b"\0\0"
    (tmp_path / "broken.qcow2").write_bytes(broken)
    done = call("qcow2", "check", tmp_path / "broken.qcow2")
    assert done.returncode == 2 and "counted as free" in done.stderr and not done.stdout
    for action in ("info", "map"):
        assert call("qcow2", action, tmp_path / "broken.qcow2").returncode == 1
    assert subprocess.run(["qemu-img", "check", tmp_path / "broken.qcow2"], capture_output=True).returncode == 2


def test_check_importable_looks_at_the_mode(tmp_path):
    path = write_ours(tmp_path)
    path.chmod(0o600)
    assert call("qcow2", "check", path).returncode == 0
    done = call("qcow2", "check", path, "--importable")
    assert done.returncode == 1 and "mode 0600" in done.stderr and "chmod 0644" in done.stderr
    path.chmod(0o646)
    done = call("qcow2", "check", path, "--importable")
    assert done.returncode == 0 and done.stderr.startswith("warning: ")


# What qemu-img writes, and the reason for which it is not read, if any.
FOREIGN = [
    (["create", "-o", "compat=0.10"], None),
    (["create", "-o", "compat=1.1,lazy_refcounts=on"], None),
    (["create", "-o", "cluster_size=512"], None),
    (["create", "-o", "cluster_size=2M,refcount_bits=64"], None),
    (["create", "-o", "refcount_bits=1,preallocation=metadata"], None),
    (["create", "-o", "preallocation=full"], None),
    (["create", "-o", "extended_l2=on"], "extended L2"),
    (["create", "-o", "compression_type=zstd"], "compression"),
    (["create", "-o", "data_file=data.raw"], "in another file"),
    (["create", "-b", "base.raw", "-F", "raw"], "backing file"),
    (["create", "-o", "encrypt.format=luks,encrypt.key-secret=s", "--object", "secret,id=s,data=x"], "encrypted"),
    (["convert", "-c"], "compressed clusters"),
    (["convert", "-o", "compat=0.10"], None),
    (["convert", "-S", "0"], None),
    (["snapshot"], "snapshots"),
    (["bitmap"], "bitmaps"),
]


@pytest.mark.parametrize("words, reason", FOREIGN, ids=lambda x: "-".join(x) if isinstance(x, list) else "")
def test_what_qemu_img_writes_is_read_or_refused_with_a_reason(tmp_path, words, reason):
    def qemu_img(*arguments):
        subprocess.run(["qemu-img", *arguments], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)

    (tmp_path / "base.raw").write_bytes(b"v2c" * 1024 * 1024 + bytes(5 * MIB))
    what = words[0]
    if what == "create":
        qemu_img("create", "-q", "-f", "qcow2", *words[1:], "x.qcow2", "8M")
    else:
        qemu_img("convert", "-O", "qcow2", *(words[1:] if what == "convert" else []), "base.raw", "x.qcow2")
    if what == "snapshot":
        qemu_img("snapshot", "-c", "one", "x.qcow2")
    elif what == "bitmap":
        qemu_img("bitmap", "--add", "x.qcow2", "one")
    for action in ("info", "check", "map"):
        done = call("qcow2", action, tmp_path / "x.qcow2")
        if reason:
            assert done.returncode == 1 and reason in done.stderr, done.stderr
        else:
            assert done.returncode == 0, done.stderr
    if not reason:
        done = subprocess.run(["qemu-img", "map", "--output=json", "x.qcow2"], cwd=tmp_path, check=True,
                              capture_output=True)
        ours = json.loads(call("qcow2", "map", tmp_path / "x.qcow2", "--json").stdout)
        assert places(ours) == places(json.loads(done.stdout))


def places(runs):
    """Per page, the place of data; `present` alone tells QEMU's view of data that is a hole in the file."""
    return {at: r["offset"] + at - r["start"] if "offset" in r and r["present"] else None
            for r in runs for at in range(r["start"], r["start"] + r["length"], 4096)}


@pytest.mark.parametrize("words", [[], ["info"], ["repair", "x"], ["info", "x", "y"], ["map", "x", "--importable"]])
def test_wrong_words_are_refused(words):
    done = call("qcow2", *words)
    assert done.returncode == 1 and "hint: see `v2c-engine help qcow2`" in done.stderr


def test_file_that_is_no_image(tmp_path):
    (tmp_path / "x").write_text("hello")
    for action in ("info", "check", "map"):
        done = call("qcow2", action, tmp_path / "x")
        assert done.returncode == 1 and str(tmp_path / "x") in done.stderr


# ---- doctor


def findings(done):
    value = json.loads(done.stdout)
    assert value["ok"] == (done.returncode == 0)
    return {f["name"]: f for f in value["findings"]}


def test_doctor_finds_a_sound_host_sound(make):
    lab, engine = make(synthetic())
    engine.control.mkdir()
    found = findings(call("doctor", "--config", engine.write_config(), "--json"))
    assert not [f for f in found.values() if f["level"] == "problem"]
    assert found["VDDK"]["level"] == "ok" and "libvixDiskLib.so" in found["VDDK"]["found"]
    assert found["qemu-img"]["level"] == "ok" and "version" in found["qemu-img"]["found"]
    assert found["file I/O"]["found"] in ("io_uring, with registered buffers", "io_uring, without registered buffers") \
        or found["file I/O"]["found"].startswith("threads: ")
    assert not list(engine.control.iterdir())
    text = call("doctor", "--config", engine.write_config())
    assert text.returncode == 0
    assert "migrations will work" in text.stdout or "nothing stands" in text.stdout


def broken_library(directory):
    (directory / "lib64").mkdir(parents=True)
    (directory / "lib64" / "libvixDiskLib.so.8").write_text("no library")
    return directory


@pytest.mark.parametrize("what", ["missing", "broken"])
def test_doctor_finds_a_vddk_that_does_not_load(tmp_path, what):
    path = "/nonexistent" if what == "missing" else broken_library(tmp_path / "vddk")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({
        "vcenter": {"host": "vc", "user": "u", "password": "p"},
        "migration": {"vddk_path": str(path), "control_dir": str(tmp_path)}}))
    done = call("doctor", "--config", tmp_path / "c.yaml", "--json")
    found = findings(done)
    assert done.returncode == 1 and found["VDDK"]["level"] == "problem" and found["VDDK"]["advice"]
    assert str(path) in found["VDDK"]["found"]
    assert found["secrets"]["level"] == "warning"  # written with the umask's mode
    assert "migrations will fail" in call("doctor", "--config", tmp_path / "c.yaml").stdout


def test_doctor_names_a_control_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"migration": {"control_dir": str(tmp_path / "file" / "x")}}))
    found = findings(call("doctor", "--config", tmp_path / "c.yaml", "--json"))
    assert found["control directory"]["level"] == "problem"
    (tmp_path / "c.yaml").write_text("migration: {control_dri: x}\n")
    found = findings(call("doctor", "--config", tmp_path / "c.yaml", "--json"))
    assert found["configuration"]["level"] == "problem" and "control_dir" in found["configuration"]["found"]


def test_doctor_says_what_files_are_written_through(tmp_path):
    for backend in ("threads", "inline"):
        done = call("doctor", "--json", cwd=tmp_path, V2C_IO=backend)
        assert findings(done)["file I/O"]["found"].startswith(backend)


def test_doctor_tells_both_ways_to_nfs_and_what_is_in_use(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("storage: {nfs: mount}\n")
    found = findings(call("doctor", "--config", path, "--json"))
    assert "mount" in found["NFS mounts"]["found"] or found["NFS mounts"]["level"] == "warning"
    assert "libnfs" in found["userspace NFS"]["found"] and "not used" in found["userspace NFS"]["found"]
    path.write_text("storage: {nfs: userspace}\n")
    found = findings(call("doctor", "--config", path, "--json"))
    assert "NFS mounts" not in found
    assert found["userspace NFS"]["level"] == "ok" and "not used" not in found["userspace NFS"]["found"]


def test_doctor_without_a_configuration_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    done = call("doctor", "--json", cwd=tmp_path / "empty")
    assert findings(done)["configuration"]["level"] == "problem"
