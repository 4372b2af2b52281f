"""Marks of a source that was migrated (mark_source), and how a rollback takes them back."""

import json

import pytest

from harness import synthetic, until

DISKS = [{"address": "scsi0:0", "size": "4MiB", "fill": 50, "seed": 1}]
NICS = [{"mac": "00:50:56:aa:00:01", "network": "A"}, {"mac": "00:50:56:aa:00:02", "network": "B"}]
ALL = {"note": True, "rename": True, "disconnect_nics": True}
CALL = "vsphere.ReconfigVM_Task"
OLD_NOTE = "owner: <b> & \"sons\"\nbackup: daily"


class Marked:
    def __init__(self, make, marks=ALL, others=(), **more):
        self.lab, self.engine = make(synthetic(disks=DISKS, nics=NICS, writer_kib_per_s=0, shutdown_ms=50),
                                     *others, version="4.22.1", **more)
        self.moref = self.lab.moref("web01")
        known = self.lab.info["cloudstack"]["networks"]
        self.spec = self.engine.spec(
            "web01", mark_source=marks,
            nics={"4000": {"source_index": 0, "networkid": known["lab-isolated"]},
                  "4001": {"source_index": 1, "networkid": known["lab-shared"]}})
        self.label(annotation=OLD_NOTE)
        self.label(nic=4001, connected=False)  # as somebody wanted it before

    def label(self, **what):
        self.lab.call("POST", f"/vms/{self.moref}/labels", what)

    def vm(self):
        return next(vm for vm in self.lab.state()["vms"] if vm["moref"] == self.moref)

    def starts(self):
        return [nic["start_connected"] for nic in self.vm()["nics"]]

    def begin(self):
        run = self.engine.run(self.spec)
        self.engine.until_stage(self.spec, "delta", run)
        return run

    def migrate(self):
        run = self.begin()
        self.engine.finalize(self.spec, "--now")
        return run.succeed()

    def rollback(self, check=True):
        return self.engine.command("rollback", "--config", self.engine.write_config(), "--spec", self.spec,
                                   "--yes", check=check)

    def assert_marked(self):
        vm = self.vm()
        assert vm["name"] == "web01-migrated" and self.starts() == [False, False]
        assert vm["annotation"].startswith(OLD_NOTE + "\nMigrated to CloudStack (")
        assert vm["annotation"].count("Migrated to CloudStack") == 1
        assert self.engine.state_json("web01")["cloudstack_vm_id"] in vm["annotation"]
        assert vm["power"] == "off" and not vm["snapshots"]

    def assert_as_it_was(self):
        vm = self.vm()
        assert (vm["name"], vm["annotation"], self.starts()) == ("web01", OLD_NOTE, [True, False])


def test_a_migrated_source_is_marked_and_still_known_by_its_name(make):
    m = Marked(make)
    m.migrate()
    m.assert_marked()
    assert m.engine.stage(m.spec) == "done"
    assert "already done" in m.engine.run(m.spec).succeed()
    m.assert_marked()
    text = m.rollback().stdout
    assert "gives the source VM its name, note and connected network cards back" in text
    m.assert_as_it_was()
    assert m.vm()["power"] == "on"


def test_nothing_is_marked_unless_it_is_wanted(make):
    m = Marked(make, marks={})
    before = m.lab.count(CALL)
    m.migrate()
    m.assert_as_it_was()
    assert m.lab.count(CALL) == before + 1  # change tracking


@pytest.mark.parametrize("moment", ["", ".after"], ids=["before", "after"])
def test_killed_at_every_mark_and_every_step_back(make, moment):
    m = Marked(make)
    run = m.begin()
    where = CALL + moment
    for number in range(3):
        before = m.lab.count(where)
        m.lab.fault(where, "drop", delay_ms=1500)
        if number:
            run = m.engine.run(m.spec)
        else:
            m.engine.finalize(m.spec, "--now")
        until(lambda: m.lab.count(where) > before or not run.is_running(), "the mark is made")
        run.kill_all()
    m.engine.run(m.spec).succeed()
    m.assert_marked()
    assert m.engine.stage(m.spec) == "done"
    for _ in range(3):
        m.lab.fault(where, "fail", detail="SystemError", count=3)
        m.rollback(check=False)
        m.lab.clear_faults()
    m.rollback(check=False)
    vm = m.vm()
    assert vm["power"] == "on" and m.starts() == [True, False]


def test_marks_that_vcenter_refuses_are_told_and_the_migration_is_done(make):
    m = Marked(make, vcenter={"missing_privileges": ["VirtualMachine.Config.Rename",
                                                     "VirtualMachine.Config.EditDevice"]})
    text = m.migrate()
    assert "not marked by its name" in text and "lacks the privilege VirtualMachine.Config.Rename" in text
    assert "not marked by its network cards" in text
    vm = m.vm()
    assert vm["name"] == "web01" and "Migrated to" in vm["annotation"] and m.starts() == [True, False]
    assert m.engine.stage(m.spec) == "done"
    m.rollback()
    m.assert_as_it_was()
    done = m.engine.command("check", "--config", m.engine.write_config(), "--spec", m.spec, "--json", check=False)
    findings = json.dumps(json.loads(done.stdout))
    assert "VirtualMachine.Config.EditDevice, VirtualMachine.Config.Rename, which may be needed" in findings


def test_a_lost_answer_marks_nothing_twice(make):
    m = Marked(make)
    run = m.begin()
    m.lab.fault(CALL + ".after", "drop", count=3)
    m.engine.finalize(m.spec, "--now")
    text = run.succeed()
    assert "not marked" not in text, text
    m.assert_marked()


def test_rollback_leaves_what_a_person_has_changed_since(make):
    m = Marked(make)
    m.migrate()
    m.label(name="web01-old", annotation="do not touch")
    m.label(nic=4000, connected=True)
    text = m.rollback()
    vm = m.vm()
    assert vm["name"] == "web01-old" and vm["annotation"] == "do not touch"
    assert m.starts() == [True, False] and vm["power"] == "on"
    log = m.engine.log("web01")
    assert "has changed the source VM's name" in log and "has changed the source VM's note" in log, text


def test_cards_that_cannot_be_connected_again_hold_the_rollback_up(make):
    m = Marked(make, marks={"disconnect_nics": True})
    m.migrate()
    assert m.starts() == [False, False]
    m.lab.fault(CALL, "fail", detail="NotSupported", count=9)
    done = m.rollback(check=False)
    assert done.returncode == 1 and "network cards" in done.stderr and m.vm()["power"] == "off"
    m.lab.clear_faults()
    m.rollback()
    m.assert_as_it_was()
    assert m.vm()["power"] == "on"


def test_another_vm_that_has_taken_the_name_is_not_taken_for_it(make):
    m = Marked(make, marks={"rename": True, "suffix": " (gone)"}, others=[synthetic("db01", disks=DISKS)])
    m.migrate()
    assert m.vm()["name"] == "web01 (gone)"
    m.label(name="web-old")  # a person's choice: the record still knows the VM
    assert "already done" in m.engine.run(m.spec).succeed()
    other = m.lab.moref("db01")
    m.lab.call("POST", f"/vms/{other}/labels", {"name": "web01"})
    run = m.engine.run(m.spec)
    until(lambda: "Starting workflow" in run.text() or not run.is_running(), "it has found a VM")
    run.kill_all()
    assert f"moref={other} " in run.text()
