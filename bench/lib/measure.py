"""What a run costs: wall time, the CPU time of every process that takes part, peak memory, and the CPU
time that others used meanwhile."""

import os
import resource
import select
import signal
import subprocess
import tempfile
import time

TICK_MS = 50  # between looks at the memory of what runs
PATIENCE_S = 900
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Something that must work did not: there is no figure."""


def busy_seconds():
    """CPU time of the whole machine; what a hypervisor gave to others counts as used by others."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def cpu_of(pid):
    """CPU time so far of a process that goes on running."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        words = f.read().rsplit(") ", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICKS_PER_S


def own_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def status_kib(pid, *names):
    """Fields of /proc/PID/status in KiB; zeroes for a process that is gone."""
    found = dict.fromkeys(names, 0)
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            for line in f:
                name, _, value = line.partition(":")
                if name in found:
                    found[name] = int(value.split()[0])
    except OSError:
        pass
    return [found[name] for name in names]


class Process:
    def __init__(self, argv, env, errors):
        self.began, self.ended = time.monotonic(), None
        self.name = os.path.basename(argv[0])
        self.seen_kib = self.peak_kib = 0
        self.popen = subprocess.Popen(argv, env={**os.environ, **(env or {})}, stderr=errors,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def look(self):
        self.seen_kib = max(self.seen_kib, *status_kib(self.popen.pid, "VmHWM"))

    def is_over(self):
        return os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def reap(self):
        """Waits for it; its usage, with that of the children it waited for itself."""
        _, status, usage = os.wait4(self.popen.pid, 0)
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        self.ended = time.monotonic()
        # A process begins with the peak of the one that started it, which is us: where that hides its
        # own, what was seen of it while it ran is nearer.
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peak_kib = usage.ru_maxrss if usage.ru_maxrss > ours else self.seen_kib
        return usage.ru_utime + usage.ru_stime


class Run:
    """One run: starts processes and adds up what they use.  Those that still run when the `with` block
    is left are killed.  @watched are pids of servers that run anyway and work for this run."""

    def __init__(self, watched=()):
        self.processes, self.cpu = [], 0.0
        self.errors = tempfile.TemporaryFile()  # what they say on stderr
        self.watched = {pid: cpu_of(pid) for pid in watched}
        self.busy, self.own = busy_seconds(), own_seconds()
        self.on_tick = None
        self.begin = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.ended is None:
                process.popen.kill()
                process.reap()
        self.errors.close()

    def start(self, argv, env=None):
        try:
            process = Process([str(word) for word in argv], env, self.errors)
        except OSError as error:
            raise Failed(f"cannot start {argv[0]}: {error.strerror}") from error
        self.processes.append(process)
        return process

    def wait(self, process, accept=(0,)):
        self.wait_until_over(process)
        self.cpu += process.reap()
        if process.popen.returncode not in accept:
            raise self.failure(process)

    def failure(self, process):
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 1000))
        said = self.errors.read().decode(errors="replace").strip()
        return Failed(f"{process.name} ended with {process.popen.returncode}: {said}")

    def wait_until_over(self, process):
        deadline = time.monotonic() + PATIENCE_S
        fd = os.pidfd_open(process.popen.pid)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            while not poll.poll(TICK_MS):
                self.tick()
                if time.monotonic() > deadline:
                    raise Failed(f"{process.name} did not end within {PATIENCE_S} s")
        finally:
            os.close(fd)

    def tick(self):
        for process in self.processes:
            if process.ended is None:
                process.look()
        if self.on_tick:
            self.on_tick()

    def fail_if_over(self):
        """While something is waited for that only what was started can bring."""
        for process in self.processes:
            if process.ended is None and process.is_over():
                process.reap()
                raise self.failure(process)

    def call(self, argv, env=None):
        self.wait(self.start(argv, env))

    def stop(self, process):
        """Ends a server as its user would."""
        process.look()
        process.popen.send_signal(signal.SIGTERM)
        self.wait(process, accept=(0, -signal.SIGTERM))

    def wait_for_socket(self, path, server):
        deadline = time.monotonic() + 20
        while not os.path.exists(path):
            self.fail_if_over()
            if time.monotonic() > deadline:
                raise Failed(f"{server.name} does not answer")
            time.sleep(0.002)

    def finish(self):
        """The figures; CPU time is that of the processes that were started."""
        wall = time.monotonic() - self.begin
        ours = self.cpu + own_seconds() - self.own
        ours += sum(cpu_of(pid) - before for pid, before in self.watched.items())
        return {"wall": wall, "cpu": self.cpu, "rss_mib": self.peak_mib(),
                "foreign": max(0.0, busy_seconds() - self.busy - ours)}

    def peak_mib(self):
        """The most that was resident at once, if each that ran then had its peak then."""
        return max(sum(other.peak_kib for other in self.processes
                       if other.began <= process.began < other.ended)
                   for process in self.processes) / 1024


def wait_until_quiet(patience_s=10):
    """Until others leave the machine nearly alone, but not for ever."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        before, begin = busy_seconds(), time.monotonic()
        time.sleep(0.2)
        if busy_seconds() - before <= 0.15 * (time.monotonic() - begin) * os.cpu_count():
            return
