"""How the numbers of a table go together: linearly (Pearson) and in rank (Spearman)."""

from itertools import combinations

from reading import columns_of

from sojourn import Error

STRONGEST = 20
LEAST_ROWS = 3


def correlations(table):
    names = columns_of(table, "number")
    if len(names) < 2:
        raise Error("invalid_request", f"correlations need two columns of numbers; there are: {names}", False)
    numbers = table[names].astype(float)
    pearson = numbers.corr(method="pearson", min_periods=LEAST_ROWS)
    spearman = numbers.corr(method="spearman", min_periods=LEAST_ROWS)
    pairs = [
        {
            "columns": [one, other],
            "pearson": pearson.at[one, other],
            "spearman": spearman.at[one, other],
            "rows": numbers[[one, other]].dropna().shape[0],
        }
        for one, other in combinations(names, 2)
    ]
    known = [pair for pair in pairs if pair["pearson"] == pair["pearson"]]  # a constant column has none
    known.sort(key=lambda pair: -abs(pair["pearson"]))
    return {"pearson": pearson.to_dict(), "spearman": spearman.to_dict(), "strongest": known[:STRONGEST]}
