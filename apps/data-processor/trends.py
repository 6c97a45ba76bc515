"""How the numbers of a table change over time: a least-squares line, and the months."""

import numpy
from reading import columns_of

from sojourn import Error

DAYS_PER_YEAR = 365.2425
MOST_MONTHS = 600


def trends(table):
    names = columns_of(table, "number")
    if not names:
        raise Error("invalid_request", "trends need a column of numbers; there is none", False)
    dates = columns_of(table, "date")
    if not dates:
        rows = numpy.arange(len(table), dtype=float)
        return {"over": "row", "columns": {name: line(rows, table[name], {"slope_per_row": 1.0}) for name in names}}
    date = dates[0]
    table = table[table[date].notna()].sort_values(date, kind="stable")
    days = (table[date] - table[date].min()).dt.total_seconds().to_numpy() / 86400.0
    units = {"slope_per_day": 1.0, "slope_per_year": DAYS_PER_YEAR}
    return {
        "over": date,
        "first": table[date].min(),
        "last": table[date].max(),
        "columns": {name: line(days, table[name], units) for name in names},
        "monthly": monthly(table, date, names),
    }


def line(x, column, units):
    """The least-squares line through the values that are there; null where two different places are lacking."""
    y = column.to_numpy(dtype=float)
    there = numpy.isfinite(y)
    x, y = x[there], y[there]
    nothing = {**dict.fromkeys(units), "intercept": None, "r_squared": None, "rows": len(y)}
    if len(y) < 2 or numpy.ptp(x) == 0:
        return nothing
    dx, dy = x - x.mean(), y - y.mean()
    slope = (dx @ dy) / (dx @ dx)
    total = dy @ dy
    return {
        **{name: slope * unit for name, unit in units.items()},
        "intercept": y.mean() - slope * x.mean(),
        "r_squared": slope * (dx @ dy) / total if total > 0 else None,
        "rows": len(y),
    }


def monthly(table, date, names):
    months = table.groupby(table[date].dt.strftime("%Y-%m"))
    values = months[names].agg(["mean", "min", "max"])
    rows = months.size()
    return [
        {
            "month": month,
            "rows": rows[month],
            **{name: {kind: values.at[month, (name, kind)] for kind in ("mean", "min", "max")} for name in names},
        }
        for month in list(values.index)[-MOST_MONTHS:]
    ]
