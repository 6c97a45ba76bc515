"""Values that lie far from the others of their column, by two rules: Tukey's fences (IQR) and the z-score."""

from reading import columns_of

from sojourn import Error

FENCE = 1.5
Z = 3.0
EXAMPLES = 5


def outliers(table):
    names = columns_of(table, "number")
    if not names:
        raise Error("invalid_request", "outliers need a column of numbers; there is none", False)
    return {
        "rules": {
            "iqr": f"beyond {FENCE} x IQR from the quartiles",
            "z_score": f"more than {Z} deviations off the mean",
        },
        "columns": {name: column_outliers(table, table[name].astype(float)) for name in names},
    }


def column_outliers(table, column):
    low, high = column.quantile([0.25, 0.75])
    lower, upper = low - FENCE * (high - low), high + FENCE * (high - low)
    beyond = (column < lower) | (column > upper)
    mean, deviation = column.mean(), column.std()
    z = (column - mean) / deviation if deviation > 0 else column * 0.0
    far = z.abs() > Z
    count = max(column.count(), 1)
    farthest = z[beyond | far].abs().sort_values(ascending=False, kind="stable").head(EXAMPLES).index
    return {
        "iqr": {"lower": lower, "upper": upper, "count": beyond.sum(), "share": beyond.sum() / count},
        "z_score": {"mean": mean, "std": deviation, "count": far.sum(), "share": far.sum() / count},
        "examples": [
            {"row": row, "value": column[row], "z": z[row], "values": table.loc[row].to_dict()} for row in farthest
        ],
    }
