"""Tables of films: their sizes in tests, empty files for them, and what they say."""

SIZES = {"frames": 4, "tau": 3, "cover_hw": (16, 16)}


def touch(folder, *names):
    """Empty files: a table does not look into them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def content(table):
    """What a table says, to be compared."""
    return [path.resolve() for path, _ in table.rows], table.classes, table.labels.tolist()
