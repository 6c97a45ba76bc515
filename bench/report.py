"""What scripts/bench makes of what it measured: figures beside what is asked of them, as JSON and as a page."""
import dataclasses
import statistics


@dataclasses.dataclass
class Figure:
    section: str
    name: str
    value: float
    unit: str
    asked: float | None = None  # nothing: it is told, not asked
    rounds: list[float] = dataclasses.field(default_factory=list)

    @property
    def at_least(self):
        """Whether more is better: rates, and ratios of rates."""
        return self.unit.endswith("/s") or self.unit.startswith(("of bare calls/s", "times as fast"))

    @property
    def met(self):
        if self.asked is None:
            return None
        return self.value >= self.asked if self.at_least else self.value <= self.asked

    def to_json(self):
        return {**dataclasses.asdict(self), "at_least": self.at_least, "met": self.met}


def median_figures(rounds):
    """One figure for each that every round measured, with the median of their values."""
    figures = []
    for figure in rounds[0]:
        values = [other.value for each in rounds for other in each
                  if (other.section, other.name, other.unit) == (figure.section, figure.name, figure.unit)]
        if len(values) != len(rounds):
            raise ValueError(f"{figure.name}: measured in {len(values)} of {len(rounds)} rounds")
        figures.append(dataclasses.replace(figure, value=statistics.median(values), rounds=values))
    return figures


def number(value):
    """With three digits that count, and thousands set apart."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def verdict(figure):
    return "" if figure.met is None else "met" if figure.met else "**missed**"


def asked_text(figure):
    if figure.asked is None:
        return ""
    return f"{'at least' if figure.at_least else 'at most'} {number(figure.asked)}"


def row(figure):
    return f"| {figure.name} | {number(figure.value)} | {figure.unit} | {asked_text(figure)} | {verdict(figure)} |"


TABLE = ["| figure | measured | unit | asked | |", "| --- | --: | --- | --: | --- |"]


def page(host, figures, sections):
    """The readable page. `sections`: name -> (title, what stands below its table)."""
    asked = [figure for figure in figures if figure.met is not None]
    missed = [figure for figure in asked if not figure.met]
    lines = ["# What Sojourn costs", "",
             f"Written by `./scripts/bench` on {host['date']}: {host['processor']}, {host['cores']} cores, {host['system']};",
             f"an fdatasync of its disk takes {host['fsync_us']} us, a bounce of 170 bytes between processes on two of its processors",
             f"{host['bounce_us']} us, and {host['busy']:.0%} of its processors were taken by others when it began. Medians of {host['rounds']} rounds of {host['seconds']:g} s for calls, of three at most for all else; the load client",
             "runs on the same machine.", "",
             f"{len(asked) - len(missed)} of {len(asked)} bounds are met."]
    if missed:
        lines += ["", "Missed:", "", *TABLE, *map(row, missed)]
    for section, (title, note) in sections.items():
        of_section = [figure for figure in figures if figure.section == section]
        if of_section:
            lines += ["", f"## {title}", "", *TABLE, *map(row, of_section)]
            if note:
                lines += ["", note]
    return "\n".join(lines) + "\n"
