"""Keeps the results of each row in a file of its own, and makes the table of all that there are."""

import json
import os
import statistics

BEGIN, END = "<!-- figures: bench/run --table writes them -->", "<!-- end of figures -->"


def record(row, results, checks, error, setting):
    """What is kept of a row."""
    cases = {name: {"group": results.groups[name], "runs": list(runs.values())}
             for name, runs in results.runs.items()} if results else {}
    return {"row": row.name, "title": row.title, "place": row.place, "data_mib": row.data_mib,
            **setting, "cases": cases, "checks": [check.record() for check in checks],
            "lines": [check.line() for check in checks], "error": error,
            "passed": error is None and all(check.passed for check in checks)}


def save(directory, kept):
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, kept["row"] + ".json")
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(kept, f, indent=1)
        f.write("\n")
    os.rename(path + ".new", path)


def load(directory, names):
    """The kept results of these rows, in this order; those without any are left out."""
    found = []
    for name in names:
        path = os.path.join(directory, name + ".json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                found.append(json.load(f))
    return found


def line(kept):
    """One row, for people at a terminal."""
    told = f"cannot be measured: {kept['error']}" if kept["error"] else "; ".join(kept["lines"])
    return f"{kept['row']:<18} {'pass  ' if kept['passed'] else 'MISSED'}  {told}"


def span(values, digits):
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return (f"{statistics.median(values):.{digits}f} "
            f"[{min(values):.{digits}f}-{max(values):.{digits}f}]")


def told_of(key, values):
    """Of a figure that a row has beside the usual ones: the most for memory, the median for time."""
    if key.endswith("_cpu_s"):
        return f"{key[:-len('_cpu_s')]} {statistics.median(values):.2f} CPU s"
    return f"{key.replace('_mib', '')} {max(values):.2f} MiB"


def case_line(name, case, data_mib, rounds):
    runs = case["runs"]
    cpu = [run["cpu"] for run in runs]
    if len(runs) < rounds:
        name += " (left out after one round)"
    rest = [key for key in runs[0] if key not in ("wall", "cpu", "rss_mib", "foreign")]
    peak = max(run["rss_mib"] for run in runs)
    more = "".join(f", {told_of(key, [run[key] for run in runs])}" for key in rest)
    return (f"| {name} | {span([run['wall'] for run in runs], 2)} | {span(cpu, 2)}"
            f" | {statistics.median(cpu) / (data_mib / 1024):.2f} | {peak:.0f}{more}"
            f" | {statistics.median([run['foreign'] for run in runs]):.2f} |")


def details(kept):
    rounds = max((len(case["runs"]) for case in kept["cases"].values()), default=0)
    lines = ["", f"### {kept['row']}: {kept['title']}", "",
             f"{kept['data_mib']} MiB of data; {rounds} rounds, {kept['seconds']} s; {kept['when']}; "
             f"v2c-engine {kept['machine']['v2c-engine']}", ""]
    if kept["error"]:
        return [*lines, f"Cannot be measured: {kept['error']}"]
    lines += ["| case | wall s | CPU s | CPU s/GiB | peak MiB | CPU s of others |",
              "|---|---|---|---|---|---|"]
    return lines + [case_line(name, case, kept["data_mib"], rounds)
                    for name, case in kept["cases"].items()]


def machine_lines(found):
    """Each machine that rows were run on, with its versions, but for our own."""
    machines = []
    for kept in found:
        told = {key: value for key, value in kept["machine"].items() if key != "v2c-engine"}
        if told not in machines:
            machines.append(told)
    return [f"{m['cores']} cores of {m['processor']}, {m['memory_gib']} GiB, {m['system']}, kernel "
            f"{m['kernel']}, disk {m['disk']}; {m['qemu-img']}; {m['nbdcopy']}; {m['nbdkit']}."
            for m in machines]


def table(found):
    lines = [*machine_lines(found), "", "| row | what | figures (limits) | |", "|---|---|---|---|"]
    for kept in found:
        told = kept["error"] or "<br>".join(kept["lines"])
        told += " (quick: says nothing)" if kept["is_quick"] else ""
        lines.append(f"| {kept['row']} | {kept['title']} | {told}"
                     f" | {'pass' if kept['passed'] else '**missed**'} |")
    lines += ["", "Medians, [least-most]; CPU time is that of all processes taking part, servers too;"
              " CPU s/GiB is by GiB of data; peak MiB is summed over the processes that ran at once."]
    for kept in found:
        lines += details(kept)
    return "\n".join(lines) + "\n"


def write_into(path, text):
    """Replaces what stands between the marks of a document."""
    with open(path, encoding="utf-8") as f:
        before, begin, rest = f.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no line {BEGIN!r} with {END!r} after it")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
