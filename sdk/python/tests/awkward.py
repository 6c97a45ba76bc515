"""Values that are hard to check, built here since the tables of cases can only name them."""


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def looped():
    value = {"a": [1]}
    value["a"].append(value)
    return value
