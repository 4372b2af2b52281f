"""From runs to figures, and from figures to a judgement."""

import statistics
from dataclasses import asdict, dataclass


@dataclass
class Check:
    text: str  # what the figure is
    figure: float
    limit: float
    is_floor: bool = False  # the figure must be at least the limit
    unit: str = ""

    @property
    def passed(self):
        return self.figure >= self.limit if self.is_floor else self.figure <= self.limit

    def miss(self):
        """By how much of the limit it is missed, as text."""
        if self.limit == 0:
            return f"missed by {abs(self.figure):.3g}{self.unit}"
        return f"missed by {abs(self.figure / self.limit - 1) * 100:.0f} %"

    def line(self):
        sign = ">=" if self.is_floor else "<="
        told = f"{self.text} {self.figure:.3g}{self.unit} ({sign} {self.limit:g}"
        return told + (")" if self.passed else f"; {self.miss()})")

    def record(self):
        return {**asdict(self), "passed": self.passed}


class Results:
    """The runs of a row: {case: {round: figures}}."""

    def __init__(self):
        self.runs, self.groups = {}, {}

    def add(self, case, number, figures):
        self.runs.setdefault(case.name, {})[number] = figures
        self.groups[case.name] = case.group

    def values(self, name, measure):
        return [figures[measure] for figures in self.runs[name].values()]

    def median(self, name, measure):
        return statistics.median(self.values(name, measure))

    def most(self, name, measure):
        return max(self.values(name, measure))

    def members(self, groups):
        """The cases of @groups that ran in every round."""
        rounds = max(len(runs) for runs in self.runs.values())
        return [name for name, runs in self.runs.items()
                if self.groups[name] in groups and len(runs) == rounds]

    def best(self, measure, groups):
        return min(self.members(groups), key=lambda name: self.median(name, measure))

    def pairs(self, one, other, measure):
        """The figures of both in each round that has both."""
        return [(self.runs[one][number][measure], self.runs[other][number][measure])
                for number in self.runs[one] if number in self.runs[other]]

    def ratio(self, one, other, measure):
        """Pair by pair: what disturbs a round disturbs both."""
        return statistics.median(a / b if b else float("inf")
                                 for a, b in self.pairs(one, other, measure))

    def difference(self, one, other, measure):
        return statistics.median(a - b for a, b in self.pairs(one, other, measure))

    def hopeless(self, judged, most, factor=1.3):
        """Cases that no judgement of @judged, (measure, groups), can turn on any more, after one round:
        in none of them are they among the @most best, and near the best.  Runs that take twenty
        seconds to be ten times as slow prove nothing the second time."""
        kept = set()
        for measure, groups in judged:
            names = sorted(self.members(groups), key=lambda name: self.median(name, measure))
            if names:
                bound = self.median(names[0], measure) * factor
                kept |= {name for name in names[:most] if self.median(name, measure) <= bound}
        judged_groups = {group for _, groups in judged for group in groups}
        return {name for name, group in self.groups.items()
                if group in judged_groups and name not in kept}
