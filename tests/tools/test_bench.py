"""bench/run measures, finds what is slow, big or wrong, and says so in its exit status.

With tiny disks: which figures come out is the machine's affair, but what follows from them is not."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("V2C_BUILD_DIR", os.path.join(ROOT, "build"))
sys.path.insert(0, os.path.join(ROOT, "bench"))

from lib.checks import Check, Results  # noqa: E402

PROGRAMS = ("bench/v2c-copy", "bench/v2c-nbd-delta", "src/cli/v2c-engine")


class BenchTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="v2c-test-bench-", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, self.folder)
        self.results = os.path.join(self.folder, "results")

    def call(self, *arguments, build=BUILD):
        run = subprocess.run(
            [sys.executable, os.path.join(ROOT, "bench/run"), "--build", build, "--tmpfs", self.folder,
             "--disk", self.folder, "--results", self.results, *arguments],
            capture_output=True, text=True, check=False, timeout=240)
        return run.returncode, run.stdout, run.stderr

    def quick(self, row, build=BUILD):
        """(exit status, the line of the row, what was kept of it)"""
        status, out, err = self.call("--quick", "--size", "64", row, build=build)
        self.assertEqual(len(out.splitlines()), 1, out + err)
        with open(os.path.join(self.results, row + ".json"), encoding="utf-8") as f:
            kept = json.load(f)
        self.assertEqual(status, 0 if kept["passed"] else 1, out + err)
        self.assertIn("pass " if kept["passed"] else "MISSED", out)
        self.assertEqual(os.listdir(self.folder), ["results"])
        return status, out, kept

    def altered_copy(self, more):
        """A build folder whose v2c-copy does @more to the file it made; $target names it."""
        build = os.path.join(self.folder, "results", "build")
        for program in PROGRAMS:
            os.makedirs(os.path.dirname(os.path.join(build, program)), exist_ok=True)
            os.symlink(os.path.join(BUILD, program), os.path.join(build, program))
        path = os.path.join(build, PROGRAMS[0])
        os.unlink(path)
        with open(path, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh -e\n{BUILD}/bench/v2c-copy "$@"\nfor target; do :; done\n'
                    f'[ ! -f "$target" ] || {{ {more}; }}\n')
        os.chmod(path, stat.S_IRWXU)
        return build


class Running(BenchTest):
    def test_a_row_of_the_engine_alone(self):
        status, out, kept = self.quick("thin")
        self.assertEqual(status, 0, out)
        self.assertIsNone(kept["error"])
        self.assertEqual(list(kept["cases"]), ["10 GiB", "2 TiB", "62 TiB"])
        for case in kept["cases"].values():
            self.assertGreater(case["runs"][0]["cpu"], 0)
            self.assertGreater(case["runs"][0]["rss_mib"], 10)

    def test_a_row_with_peers(self):
        _, _, kept = self.quick("delta-odd")
        self.assertIsNone(kept["error"])
        self.assertEqual(len(kept["cases"]), 5)
        self.assertEqual(len(kept["checks"]), 2)

    def test_a_row_with_a_server_of_its_own(self):
        _, out, kept = self.quick("nfs-tmpfs")
        if os.geteuid() != 0 or not os.path.exists(os.path.join(BUILD, "bench/v2c-raw-nfs")):
            self.assertRegex(kept["error"], "needs root|is missing: build it")
            return
        self.assertIsNone(kept["error"])
        self.assertEqual(len(kept["cases"]), 4)
        self.assertIn("speed x libnfs", out)
        for case in kept["cases"].values():
            self.assertGreater(case["runs"][0]["server_cpu_s"], 0)

    def test_metadata_beyond_the_limit_is_a_miss(self):
        waste = 'dd if=/dev/urandom of="$target" bs=1M count=20 oflag=append conv=notrunc status=none'
        status, out, kept = self.quick("thin", self.altered_copy(waste))
        self.assertEqual(status, 1)
        self.assertIsNone(kept["error"])
        self.assertIn("metadata of 2 TiB", out)
        self.assertIn("missed by", out)

    def test_a_wrong_copy_is_no_figure(self):
        wrong = 'qemu-io -f qcow2 -c "write -P 7 0 4k" "$target" >/dev/null'
        status, _, kept = self.quick("sparse", self.altered_copy(wrong))
        self.assertEqual(status, 1)
        self.assertIn("qemu-img compare says 1", kept["error"])

    def test_a_program_that_fails_is_no_figure(self):
        _, _, kept = self.quick("sparse", self.altered_copy("echo no luck >&2; exit 3"))
        self.assertIn("ended with 3", kept["error"])
        self.assertIn("no luck", kept["error"])

    def test_an_unknown_row_is_refused(self):
        status, _, err = self.call("--quick", "nothing")
        self.assertEqual(status, 2)
        self.assertIn("there is no row nothing", err)


class Table(BenchTest):
    def keep(self, name, passed):
        os.makedirs(self.results, exist_ok=True)
        machine = dict.fromkeys(("processor", "cores", "memory_gib", "kernel", "system", "tmpfs",
                                 "disk", "v2c-engine", "qemu-img", "nbdcopy", "nbdkit"), "x")
        run = {"wall": 1.0, "cpu": 0.5, "rss_mib": 50.0, "foreign": 0.1}
        kept = {"row": name, "title": "title of " + name, "data_mib": 1024, "when": "2030-01-01",
                "machine": machine, "is_quick": False, "cases": {"engine": {"group": "", "runs": [run]}},
                "lines": ["wall 1 (<= 2)"], "error": None, "passed": passed, "seconds": 1}
        with open(os.path.join(self.results, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(kept, f)

    def table(self):
        document = os.path.join(self.folder, "document.md")
        shutil.copy(os.path.join(ROOT, "docs/BENCHMARKING.md"), document)
        status, out, err = self.call("--table", "--document", document)
        with open(document, encoding="utf-8") as f:
            return status, out + err, f.read()

    def rows(self):
        names = [line.split()[0] for line in self.call("--list")[1].splitlines()
                 if not line.endswith("(extra)")]
        self.assertIn("thin", names)
        return names

    def test_is_written_into_the_document(self):
        for name in self.rows():
            self.keep(name, True)
        status, out, document = self.table()
        self.assertEqual(status, 0, out)
        self.assertIn("title of thin", document)
        self.assertEqual(self.table()[2], document)

    def test_a_missed_row_fails(self):
        for name in self.rows():
            self.keep(name, name != "thin")
        status, out, document = self.table()
        self.assertEqual(status, 1, out)
        self.assertIn("**missed**", document)

    def test_a_row_without_results_fails(self):
        self.keep("thin", True)
        status, out, _ = self.table()
        self.assertEqual(status, 1, out)
        self.assertIn("without results: base-tmpfs", out)

    def test_no_results_at_all_fail(self):
        self.assertEqual(self.table()[0], 1)


class Case:
    def __init__(self, name, group):
        self.name, self.group = name, group


class Judging(unittest.TestCase):
    def results(self, **cases):
        results = Results()
        for name, (group, values) in cases.items():
            for number, value in enumerate(values):
                results.add(Case(name, group), number, {"wall": value})
        return results

    def test_the_best_peer_is_that_of_the_least_median(self):
        results = self.results(a=("peer", [9, 1, 9]), b=("peer", [5, 5, 5]), c=("raw", [1, 1, 1]))
        self.assertEqual(results.best("wall", ("peer",)), "b")

    def test_ratios_are_of_the_same_round(self):
        results = self.results(a=("x", [1, 2, 30]), b=("y", [2, 4, 60]))
        self.assertEqual(results.ratio("a", "b", "wall"), 0.5)

    def test_what_cannot_win_is_left_out(self):
        results = self.results(a=("peer", [1.0]), b=("peer", [1.1]), c=("peer", [1.2]),
                               d=("peer", [9.0]), e=("engine", [99.0]))
        self.assertEqual(results.hopeless((("wall", ("peer",)),), 2), {"c", "d"})
        self.assertEqual(results.hopeless((("wall", ("peer",)),), 3), {"d"})

    def test_what_was_left_out_is_no_peer_any_more(self):
        results = self.results(a=("peer", [2, 2]), b=("peer", [1]))
        self.assertEqual(results.best("wall", ("peer",)), "a")

    def test_limits(self):
        self.assertTrue(Check("", 1.0, 1.0).passed)
        self.assertFalse(Check("", 1.001, 1.0).passed)
        self.assertTrue(Check("", 8.0, 8, is_floor=True).passed)
        self.assertFalse(Check("", 7.9, 8, is_floor=True).passed)
        self.assertIn("missed by 50 %", Check("wall", 1.5, 1.0).line())
        self.assertIn("missed by 25 %", Check("speed", 6.0, 8, is_floor=True).line())



class DowntimeTest(unittest.TestCase):
    def call(self, *arguments):
        folder = tempfile.mkdtemp(prefix="v2c-test-downtime-", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, folder)
        run = subprocess.run(
            [sys.executable, os.path.join(ROOT, "bench/downtime"), "--build", BUILD, "--dir", folder,
             "--rounds", "1", "--disks", "2", "--size", "16", "--delta", "4", "--job-ms", "50", *arguments],
            capture_output=True, text=True, check=False, timeout=240)
        self.assertEqual(os.listdir(folder), [])
        return run

    def test_a_downtime_is_split_and_held_against_its_limit(self):
        run = self.call("--limit", "0.001")
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertIn("MISSED 2 disks, a last delta of 4 MiB", run.stdout)
        for part in ("noticing", "final sync", "checks", "CloudStack calls"):
            self.assertIn(part, run.stdout)


if __name__ == "__main__":
    unittest.main()
