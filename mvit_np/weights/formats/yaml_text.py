"""A config as YAML text, read as plain data: safely, without aliases, and not too deep."""

from __future__ import annotations

from ...backend.install import pip_install
from ...backend.plain_text import plain

MAX_LETTERS = 1 << 17  # all of SlowFast's fields take 10 000
MAX_DEPTH = 12


def parsed(text: str) -> dict:
    """The dict of a text. Raises ValueError for any other text, ImportError without PyYAML."""
    if len(text) > MAX_LETTERS:
        raise ValueError(f"it has {len(text)} letters; {MAX_LETTERS} describe any model")
    loader = _loader()
    try:
        found = loader(text).get_single_data()
    except Exception as problem:  # PyYAML's constructors raise KeyError, IndexError, ...
        came = plain(" ".join(str(problem).split()))[:120]
        raise ValueError(f"it is no plain YAML: {came}") from None
    if not isinstance(found, dict):
        raise ValueError("it is no YAML of named fields")
    return found


def _loader():
    try:
        import yaml
    except ImportError:
        raise ImportError(
            f"a checkpoint with a config inside needs the package PyYAML: {pip_install('PyYAML')}"
        ) from None

    class Loader(yaml.SafeLoader):
        """Aliases could make a short text stand for a huge tree, and nesting recurse deeply."""

        depth = 0

        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it repeats parts by aliases")
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return Loader
