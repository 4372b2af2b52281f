"""What people see of a run: bars on a terminal, plain lines elsewhere."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time

import harness

BIG = [{"address": "scsi0:0", "size": "256MiB", "fill": 95, "seed": 1}]


def run_on_terminal(engine, spec, until, keys, seconds=60):
    """All that a run on a terminal of 24x80 prints, and its exit status; types @keys when @until is
    true of what it printed."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [harness.ENGINE, "run", "--config", engine.write_config(), "--spec", spec],
        stdin=theirs, stdout=theirs, stderr=theirs, env=engine.env(), start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    text, typed, end = "", False, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # the last one closed it
                    break
                text += piece.decode(errors="replace")
            if not typed and until(text):
                os.write(ours, keys)
                typed = True
        return text, process.wait(30)
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()


def test_terminal_shows_bars_and_ctrl_c_stops_at_a_checkpoint(make):
    lab, engine = make(harness.synthetic(disks=BIG))
    spec = engine.spec("web01")
    lab.fault("nfc.read", "delay", delay_ms=20, count=-1)
    text, status = run_on_terminal(engine, spec, lambda t: "%  " in t, b"\x03")
    assert status == 1
    assert "  disk0      [" in text and " MiB of " in text
    assert "\x1b[2A\x1b[J" in text  # redrawn in place
    assert "stopping at the next checkpoint" in text or "stopped on request" in text
    assert "hint: run the same command again" in text
    assert text.count("failed: ") == 1  # the supervisor alone speaks of it
    assert engine.stage(spec) == "base_copy"
    assert not lab.snapshots("web01")


def test_elsewhere_there_are_plain_lines(make):
    lab, engine = make(harness.synthetic())
    spec = engine.spec("web01")
    run = engine.run(spec)
    engine.until_stage(spec, "delta", run)
    engine.finalize(spec, "--now")
    text = run.succeed()
    assert "\x1b" not in text
    lines = text.splitlines()
    assert "[run] starting VM workflow: web01" in lines
    assert "[run] completed VM workflow: web01" in lines
    assert any("] [web01] Stage: base_copy" in line for line in lines)
    assert any(line.startswith("[run] web01: base ") for line in lines)
