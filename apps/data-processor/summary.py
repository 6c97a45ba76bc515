"""What a table holds, column by column."""

from reading import kind_of

MOST_COMMON = 5


def summary(table):
    return {
        "rows": len(table),
        "duplicate_rows": table.duplicated().sum(),
        "columns": {name: column_summary(table[name]) for name in table},
    }


def column_summary(column):
    kind = kind_of(column)
    facts = {"type": kind, "count": column.count(), "missing": column.isna().sum(), "unique": column.nunique()}
    if kind == "number":
        low, middle, high = column.quantile([0.25, 0.5, 0.75])
        facts.update(mean=column.mean(), std=column.std(), min=column.min(), q25=low, median=middle, q75=high)
        facts.update(max=column.max(), skewness=column.skew())
    elif kind == "date":
        facts.update(first=column.min(), last=column.max())
    else:
        counts = column.value_counts().head(MOST_COMMON)
        facts["most_common"] = [{"value": value, "count": count} for value, count in counts.items()]
    return facts
