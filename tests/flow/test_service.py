"""`v2c-engine serve`: jobs through the API, and what outlasts the service."""

import pytest

import harness
from service import Service


@pytest.fixture
def serve(make):
    """serve(vm, ...) -> (lab, engine, service)"""
    services = []

    def start(*vms, arguments=(), migration=None, **more):
        lab, engine = make(*vms, migration={"parallel_vms": 3, **(migration or {})}, **more)
        service = Service(engine, *arguments).start()
        services.append(service)
        return lab, engine, service

    yield start
    for service in services:
        if service.process.poll() is None:
            service.kill_all()


def test_health_needs_nobody_and_everything_else_somebody(serve):
    lab, engine, service = serve(harness.synthetic())
    assert service.call("GET", "/health", role=None) == {"status": "ok"}
    for method, path in (("GET", "/api/v1/jobs"), ("GET", "/metrics"), ("GET", "/environments"),
                         ("GET", "/migration/jobs"), ("GET", "/api/v1/stream"),
                         ("POST", "/migration/start"), ("GET", "/vmware/vms")):
        answer = service.request(method, path, role=None)
        assert answer.status == 401, (path, answer.status)
        assert "detail" in answer.json()


def test_a_job_migrates_a_vm(serve):
    lab, engine, service = serve(harness.synthetic())
    [job] = service.begin("web01")
    service.until_job(job, lambda j: j["state"] == "waiting" and j["delta_rounds"] >= 1, "deltas")
    service.act(job, "finalize")
    done = service.until_state(job, "completed", "failed")
    assert done["state"] == "completed", done
    engine.assert_migrated("web01")
