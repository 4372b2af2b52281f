"""The whole way in a browser: the UI, the real service and the lab.  Each scenario is a script of its own in
scenarios/, with VMs of its own; most share one lab and one service."""

import gzip
import json
import os
import re
import subprocess
import threading

import pytest

import harness
from conftest import TOP, environment
from service import Service

SCENARIOS = TOP / "tests" / "web" / "scenarios"


class World:
    """A lab and a service with the UI."""

    def __init__(self, directory, ui, *vms, **cloudstack):
        self.dir = directory
        self.lab = harness.Lab(directory, harness.scenario(*vms, **cloudstack))
        self.engine = harness.Engine(directory, self.lab, parallel_vms=4)
        self.service = Service(self.engine, "--ui-dir", str(ui)).start()
        self.service.listen = self.service.url.split("//")[1]  # another start is at the same address

    def file(self):
        path = self.dir / "world.json"
        path.write_text(json.dumps({
            "url": self.service.url, "passwords": self.service.passwords, "tokens": self.service.tokens,
            "lab": str(self.lab.dir / "lab.json"), "scratch": str(self.dir),
            "shots": os.environ.get("V2C_SHOTS")}))
        return path

    def answer(self, question):
        {"kill": self.service.kill_all, "start": self.service.start}[question]()

    def play(self, name, seconds=240):
        """Plays a scenario; what it asks for on its way is done."""
        output = self.dir / f"{name}.log"
        with open(output, "wb") as log:
            node = subprocess.Popen(["node", SCENARIOS / f"{name}.mjs", self.file()], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=log, text=True, env=environment())
            deadline = threading.Timer(seconds, node.kill)
            deadline.start()
            try:
                for line in node.stdout:
                    if line.startswith("ask "):
                        self.answer(line.split()[1])
                        node.stdin.write("done\n")
                        node.stdin.flush()
                status = node.wait()
            finally:
                deadline.cancel()
                node.kill()
                node.wait()
        assert status == 0, f"{name}: {status}\n{output.read_text(errors='replace')[-6000:]}"

    def end(self):
        if self.service.process.poll() is None:
            self.service.kill_all()
        self.lab.stop()


def vm(number, name, **more):
    disk = {"address": "scsi0:0", "size": "16MiB", "fill": 60, "seed": number}
    nic = {"mac": f"00:50:56:aa:01:{number:02x}", "network": "VM Network"}
    return harness.synthetic(name, disks=[disk], nics=[nic], **more)


@pytest.fixture(scope="module")
def world(built, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("whole"), built, harness.synthetic("web01"),
                  vm(2, "mail01"), vm(3, "db01"), vm(4, "old01", tools=False), vm(5, "old02", tools=False),
                  vm(6, "app01"), vm(7, "tmp01"), vm(8, "key01"), vm(9, "net01"), vm(10, "axe01"))
    yield world
    world.end()


def test_scripts_are_sent_compressed(world):
    page = world.service.fetch("/").body.decode()
    script = re.search(r'src="\.?(/assets/[^"]+\.js)"', page).group(1)
    packed = world.service.fetch(script, {"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == world.service.fetch(script).body


def test_the_whole_way(world):
    world.play("way")
    world.engine.assert_migrated("mail01")


def test_environments_are_tested_before_they_are_saved(world):
    world.play("environments")


def test_a_failed_job_is_retried(world):
    world.play("failure")
    world.engine.assert_migrated("db01")


def test_a_person_decides_about_a_shutdown(world):
    world.play("shutdown")
    world.engine.assert_migrated("old01")
    world.engine.assert_migrated("old02")


def test_what_is_taken_back_wants_the_name(world):
    world.play("undo")


def test_a_viewer_may_only_look(world):
    world.play("viewer")


def test_the_keyboard_alone(world):
    world.play("keyboard")


def test_a_service_that_was_away(world):
    world.play("away")
    world.engine.assert_migrated("net01")


def test_axe_on_every_page(world):
    world.play("pages")


def test_a_real_guest_is_seen_booted(built, tmp_path):
    guest = harness.synthetic("live01", kind="live", guest_id="debian12_64Guest", disks=[
        {"address": "scsi0:0", "size": "96MiB"}, {"address": "scsi0:1", "size": "160MiB"}])
    world = World(tmp_path, built, {k: v for k, v in guest.items() if k not in ("power", "tools", "shutdown_ms")},
                  boot="qemu", importvm_macaddress=True)
    try:
        serial = world.lab.dir / "vms"
        harness.until(lambda: any(b"V2C-GUEST verified" in log.read_bytes() for log in serial.rglob("serial.log")),
                      "the source guest is up and writes", 120)
        world.play("booted")
        world.engine.assert_identical("live01")
    finally:
        world.end()
