"""Large numbers with a prefix, for tables and figures."""

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def unit_of(largest):
    """The factor and prefix in which `largest` reads best: 7.06e10 -> (1e9, "G")"""
    return next((pair for pair in PREFIXES if largest >= pair[0]), PREFIXES[-1])
