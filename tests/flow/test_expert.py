"""base-copy and delta-sync: the data path alone, with qemu-img as the judge."""

import json
import os
import random
import signal
import subprocess

import pytest
import yaml

from harness import ENGINE, synthetic, until

MIB = 1 << 20


@pytest.fixture
def expert(tmp_path):
    """expert(command, argument..., **env) -> the finished process, run in an empty directory."""

    def call(*arguments, **env):
        return subprocess.run([ENGINE, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL,
                              env={**os.environ, "V2C_ENABLE_EXPERT_COMMANDS": "1", **env})

    return call


@pytest.fixture
def nbd(tmp_path):
    """nbd(file) -> URI of an export of it; `slow` bytes a second make a copy last."""
    servers = []

    def start(path, slow=0):
        socket = tmp_path / f"nbd-{len(servers)}.sock"
        image = f"driver=raw,file.driver=file,file.filename={path}"
        if slow:
            throttle = f"throttle-group,id=slow,x-bps-read={slow}"
            arguments = ["--object", throttle, "--image-opts",
                         f"driver=throttle,throttle-group=slow,file.driver=raw,file.file.driver=file,"
                         f"file.file.filename={path}"]
        else:
            arguments = ["--image-opts", image]
        servers.append(subprocess.Popen(["qemu-nbd", "-r", "-t", "-e", "4", "-k", socket, *arguments]))
        until(socket.exists, "qemu-nbd listens", 20)
        return f"nbd+unix:///?socket={socket}"

    yield start
    for server in servers:
        server.terminate()
        server.wait(20)


def write_disk(path, size=48 * MIB, seed=7):
    """A raw disk: data, holes, zeroes that are written, and an odd end."""
    r = random.Random(seed)
    with open(path, "wb") as f:
        f.truncate(size)
        for _ in range(30):
            f.seek(r.randrange(size // 4096) * 4096)
            f.write(r.randbytes(min(r.randrange(1, 300) * 512, size - f.tell())))
        f.seek(MIB)
        f.write(bytes(2 * MIB))
        f.seek(size - 512)
        f.write(r.randbytes(512))


def change(path, seed):
    """Writes and zeroes at random; returns the ranges as whole sectors."""
    r = random.Random(seed)
    size = os.path.getsize(path)
    ranges = []
    with open(path, "r+b") as f:
        for i in range(60):
            start = r.randrange(size // 512) * 512
            length = min(r.choice([512, 4096, 7 * 512, 65536, MIB + 512, 3 * MIB]), size - start)
            f.seek(start)
            f.write(bytes(length) if i % 3 == 0 else r.randbytes(length))
            ranges.append({"start": start, "length": length})
    return ranges


def assert_same(raw, qcow2):
    for words in (["check", "-f", "qcow2", qcow2], ["compare", "-f", "raw", "-F", "qcow2", raw, qcow2]):
        done = subprocess.run(["qemu-img", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def result(done):
    assert done.returncode == 0, done.stdout + done.stderr
    value = json.loads(done.stdout)
    assert list(value) == ["bytes_read", "bytes_written", "bytes_zero_skipped", "elapsed_sec", "mode"]
    assert value["bytes_read"] == value["bytes_written"] + value["bytes_zero_skipped"]
    return value


@pytest.mark.parametrize("command", ["base-copy", "delta-sync"])
def test_expert_commands_are_refused_unless_enabled(expert, command):
    for value in ("", "0", "no", "enabled"):
        done = expert(command, "--help", V2C_ENABLE_EXPERT_COMMANDS=value)
        assert done.returncode == 2 and "V2C_ENABLE_EXPERT_COMMANDS" in done.stderr and not done.stdout
    for value in ("1", "true", "yes", "on"):
        assert expert(command, "--help", V2C_ENABLE_EXPERT_COMMANDS=value).returncode == 0


@pytest.mark.parametrize("kind", ["file", "nbd"])
@pytest.mark.parametrize("size", [48 * MIB, 5 * MIB + 512])
def test_base_and_deltas_equal_the_source(expert, nbd, tmp_path, kind, size):
    raw, qcow2, ranges = tmp_path / "a.raw", tmp_path / "a.qcow2", tmp_path / "r.json"
    write_disk(raw, size)
    # The engine reads through qemu-nbd, whose cache a write behind its back would not reach: qemu
    # opens the file without a cache of its own, so the host's page cache is what both see.
    source = f"file:{raw}" if kind == "file" else nbd(raw)
    base = result(expert("base-copy", "--source", source, "--target-qcow2", qcow2,
                         "--disk-size-bytes", size))
    assert base["mode"] == "base_copy" and 0 < base["bytes_read"] <= size
    assert base["bytes_zero_skipped"] > 0
    assert_same(raw, qcow2)
    for seed in (1, 2):
        changed = change(raw, seed)
        ranges.write_text(json.dumps(changed))
        delta = result(expert("delta-sync", "--source", source, "--target-qcow2", qcow2,
                              "--ranges-file", ranges))
        assert delta["mode"] == "delta_sync"
        covered = bytearray(size // 512)
        for r in changed:
            covered[r["start"] // 512:(r["start"] + r["length"]) // 512] = b"\1" * (r["length"] // 512)
        assert delta["bytes_read"] == 512 * sum(covered)  # no byte twice, none left out
        assert_same(raw, qcow2)


def test_delta_moves_its_ranges_and_nothing_else(expert, tmp_path):
    """What the ranges do not name stays as the base has it, whatever the source says by now."""
    raw, old, qcow2 = tmp_path / "a.raw", tmp_path / "old.raw", tmp_path / "a.qcow2"
    write_disk(raw)
    result(expert("base-copy", "--source", f"file:{raw}", "--target-qcow2", qcow2))
    reference = bytearray(raw.read_bytes())
    changed = change(raw, 3)
    new = raw.read_bytes()
    for r in changed[:20]:
        reference[r["start"]:r["start"] + r["length"]] = new[r["start"]:r["start"] + r["length"]]
    old.write_bytes(reference)
    (tmp_path / "r.json").write_text(json.dumps(changed[:20]))
    result(expert("delta-sync", "--source", f"file:{raw}", "--target-qcow2", qcow2, "--ranges-file", "r.json"))
    assert_same(old, qcow2)


def test_engine_spec_gives_what_flags_do_not(expert, tmp_path):
    write_disk(tmp_path / "a.raw")
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({
        "base_copy": {"source": "file:a.raw", "target_qcow2": "a.qcow2", "readers": 2, "queue_depth": 8},
        "delta_sync": {"source": "file:a.raw", "target_qcow2": "a.qcow2", "ranges_file": "r.json"}}))
    result(expert("base-copy", "--spec", "e.yaml"))
    (tmp_path / "r.json").write_text(json.dumps(change(tmp_path / "a.raw", 4)))
    result(expert("delta-sync", "--spec", "e.yaml", "--queue-depth", "1"))
    assert_same(tmp_path / "a.raw", tmp_path / "a.qcow2")


def test_existing_files_are_never_written_over(expert, tmp_path):
    write_disk(tmp_path / "a.raw")
    (tmp_path / "b.qcow2").write_text("precious")
    done = expert("base-copy", "--source", "file:a.raw", "--target-qcow2", "b.qcow2")
    assert done.returncode == 1 and "exists" in done.stderr
    assert (tmp_path / "b.qcow2").read_text() == "precious"
    (tmp_path / "c.qcow2.part").write_text("precious")
    done = expert("base-copy", "--source", "file:a.raw", "--target-qcow2", "c.qcow2")
    assert done.returncode == 1 and "c.qcow2.part" in done.stderr
    assert (tmp_path / "c.qcow2.part").read_text() == "precious"
    assert not (tmp_path / "c.qcow2").exists()


@pytest.mark.parametrize("text,says", [
    ('[{"start":0,"length":512},{"start":1,"length":512}]', "range 2"),
    ('[{"start":50331648,"length":512}]', "range 1"),
    ('[{"start":0,"length":512}', "r.json"),
    ('{"start":0,"length":512}', "list"),
])
def test_wrong_ranges_are_refused_before_the_file_is_touched(expert, tmp_path, text, says):
    write_disk(tmp_path / "a.raw")
    result(expert("base-copy", "--source", "file:a.raw", "--target-qcow2", "a.qcow2"))
    before = (tmp_path / "a.qcow2").read_bytes()
    change(tmp_path / "a.raw", 5)
    (tmp_path / "r.json").write_text(text)
    done = expert("delta-sync", "--source", "file:a.raw", "--target-qcow2", "a.qcow2",
                  "--ranges-file", "r.json")
    assert done.returncode == 1 and says in done.stderr and not done.stdout
    assert (tmp_path / "a.qcow2").read_bytes() == before


def test_delta_goes_only_into_files_of_base_copy_of_that_size(expert, tmp_path):
    write_disk(tmp_path / "a.raw")
    write_disk(tmp_path / "small.raw", 16 * MIB)
    (tmp_path / "r.json").write_text('[{"start":0,"length":512}]')
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "a.raw", "foreign.qcow2"], cwd=tmp_path, check=True)
    before = (tmp_path / "foreign.qcow2").read_bytes()
    done = expert("delta-sync", "--source", "file:a.raw", "--target-qcow2", "foreign.qcow2",
                  "--ranges-file", "r.json")
    assert done.returncode == 1 and "not made by this program" in done.stderr
    assert (tmp_path / "foreign.qcow2").read_bytes() == before
    result(expert("base-copy", "--source", "file:small.raw", "--target-qcow2", "small.qcow2"))
    before = (tmp_path / "small.qcow2").read_bytes()
    done = expert("delta-sync", "--source", "file:a.raw", "--target-qcow2", "small.qcow2",
                  "--ranges-file", "r.json")
    assert done.returncode == 1 and "bytes" in done.stderr
    assert (tmp_path / "small.qcow2").read_bytes() == before


def test_conversion_is_refused_with_the_cure(expert, tmp_path):
    write_disk(tmp_path / "a.raw")
    done = expert("base-copy", "--source", "file:a.raw", "--target-qcow2", "a.qcow2", "--run-virt-v2v")
    assert done.returncode == 1 and "--run-virt-v2v=false" in done.stderr
    assert not (tmp_path / "a.qcow2").exists()


def start_slow_copy(nbd, tmp_path):
    write_disk(tmp_path / "a.raw")
    uri = nbd(tmp_path / "a.raw", slow=2 * MIB)
    process = subprocess.Popen([ENGINE, "base-copy", "--source", uri, "--target-qcow2", "a.qcow2"],
                               cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "V2C_ENABLE_EXPERT_COMMANDS": "1"})
    until(lambda: (tmp_path / "a.qcow2.part").exists() or process.poll() is not None, "the copy has begun", 20)
    assert process.poll() is None, process.communicate()
    return process


def test_interrupted_copy_leaves_nothing(expert, nbd, tmp_path):
    process = start_slow_copy(nbd, tmp_path)
    process.send_signal(signal.SIGINT)
    out, text = process.communicate(timeout=30)
    assert process.returncode == 1 and "the copy was stopped" in text and not out
    assert not list(tmp_path.glob("a.qcow2*"))


def test_killed_copy_leaves_no_target_and_the_next_one_succeeds(expert, nbd, tmp_path):
    process = start_slow_copy(nbd, tmp_path)
    process.kill()
    process.communicate(timeout=30)
    assert not (tmp_path / "a.qcow2").exists() and (tmp_path / "a.qcow2.part").exists()
    result(expert("base-copy", "--source", "file:a.raw", "--target-qcow2", "a.qcow2"))
    assert_same(tmp_path / "a.raw", tmp_path / "a.qcow2")
    assert not (tmp_path / "a.qcow2.part").exists()


def test_two_copies_never_write_one_file(expert, nbd, tmp_path):
    process = start_slow_copy(nbd, tmp_path)
    done = expert("base-copy", "--source", "file:a.raw", "--target-qcow2", "a.qcow2")
    assert done.returncode == 1 and "another process" in done.stderr
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=30)


def vddk_spec(lab, tmp_path, name="web01", **base):
    vm = next(v for v in lab.info["vms"] if v["name"] == name)
    disk = vm["disks"][0]
    connection = {"libdir": lab.info["vddk_path"], "server": lab.info["vcenter"]["address"],
                  "user": lab.info["vcenter"]["user"], "thumbprint": lab.info["vcenter"]["sha256"],
                  "vm_moref": vm["moref"]}
    target = str(tmp_path / "web.qcow2")
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({
        "vddk": connection,
        "base_copy": {"disk_path": disk["path"], "target_qcow2": target, "run_virt_v2v": False,
                      "disk_size_bytes": disk["capacity"], **base},
        "delta_sync": {"disk_path": disk["path"], "target_qcow2": target, "ranges_file": "r.json"}}))
    return vm, disk, target


def test_disk_of_vmware(make, expert, tmp_path):
    lab, _ = make(synthetic(), synthetic("web02"))
    password = lab.info["vcenter"]["password"]
    vm, disk, target = vddk_spec(lab, tmp_path)

    def assert_identical():
        answer = lab.call("GET", f"/vms/{vm['moref']}/compare", disk=0, file=target)
        assert answer["identical"], answer["text"]

    lab.power("web01", "off")
    until(lambda: lab.vm("web01")["power"] == "off", "the VM is off")
    base = result(expert("base-copy", "--spec", "e.yaml", VC_PASSWORD=password))
    assert base["bytes_read"] > 0
    assert_identical()
    writes = [{"disk": 0, "offset": 3 * MIB, "length": MIB, "seed": 9},
              {"disk": 0, "offset": 7 * MIB + 4096, "length": 8192, "seed": 0}]
    for write in writes:
        lab.call("POST", f"/vms/{vm['moref']}/write", write)
    (tmp_path / "r.json").write_text(json.dumps([{"start": w["offset"], "length": w["length"]}
                                                 for w in writes]))
    result(expert("delta-sync", "--spec", "e.yaml", VC_PASSWORD=password))
    assert_identical()
    # The file of one VM takes no delta of another.
    other = next(v for v in lab.info["vms"] if v["name"] == "web02")
    done = expert("delta-sync", "--spec", "e.yaml", "--vm-moref", other["moref"],
                  "--disk-path", other["disks"][0]["path"], VC_PASSWORD=password)
    assert done.returncode == 1 and vm["moref"] in done.stderr and other["moref"] in done.stderr
    assert_identical()


def test_vmware_needs_a_certificate_it_can_trust_before_the_password_is_shown(make, expert, tmp_path):
    lab, _ = make(synthetic())
    vddk_spec(lab, tmp_path)
    text = (tmp_path / "e.yaml").read_text()
    (tmp_path / "e.yaml").write_text(text.replace(lab.info["vcenter"]["sha256"], "''"))
    done = expert("base-copy", "--spec", "e.yaml", VC_PASSWORD=lab.info["vcenter"]["password"])
    assert done.returncode == 1 and lab.info["vcenter"]["sha256"] in done.stderr
    assert not list(tmp_path.glob("web.qcow2*"))
