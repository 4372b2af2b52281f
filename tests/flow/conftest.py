import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import harness  # noqa: E402


@pytest.fixture
def make(tmp_path):
    """make(vm, ..., **cloudstack) -> (lab, engine); everything ends with the test."""
    labs, engines = [], []

    def start(*vms, migration=None, vcenter=None, **cloudstack):
        scenario = harness.scenario(*vms, **cloudstack)
        if vcenter:
            scenario["vcenter"] = vcenter
        lab = harness.Lab(tmp_path, scenario)
        labs.append(lab)
        engine = harness.Engine(tmp_path, lab, **(migration or {}))
        engines.append(engine)
        return lab, engine

    yield start
    for engine in engines:
        for run in engine.runs:
            if run.is_running():
                run.kill_all()
    for lab in labs:
        lab.stop()
