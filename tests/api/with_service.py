"""Runs a command beside a service of the lab: with_service.py DIR COMMAND...; @URL@ and @TOKEN@ in its words are
replaced.  Fails too when the service has ended meanwhile, or does not stop."""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flow"))

import harness  # noqa: E402
from service import Service  # noqa: E402


def main():
    directory, words = Path(sys.argv[1]), sys.argv[2:]
    lab = harness.Lab(directory, harness.scenario(harness.synthetic()))
    engine = harness.Engine(directory, lab)
    service = Service(engine).start()
    try:
        [job] = service.begin("web01")
        service.until_job(job, lambda j: j["state"] == "waiting", "deltas")
        # An operator: what an admin may do too would take its own token away.
        words = [w.replace("@URL@", service.url).replace("@TOKEN@", service.tokens["operator"])
                 for w in words]
        status = subprocess.run(words, stdin=subprocess.DEVNULL).returncode
        if service.process.poll() is not None:
            print("the service has ended:\n" + service.text()[-4000:])
            status = 1
        elif service.stop(60) != 0:
            print("the service did not end well:\n" + service.text()[-4000:])
            status = 1
        return status
    finally:
        if service.process.poll() is None:
            service.kill_all()
        lab.stop()


if __name__ == "__main__":
    sys.exit(main())
