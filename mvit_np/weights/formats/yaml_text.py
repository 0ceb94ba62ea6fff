"""A config as YAML text, read as plain data: by PyYAML's safe loader, without its aliases, and only
as deep as configs are.
"""

from __future__ import annotations

from ...backend.install import pip_install
from ...backend.plain_text import plain

MAX_LETTERS = 1 << 17  # all of SlowFast's fields take 10 000
MAX_DEPTH = 12


def parsed(text):
    """The dict that a text stands for. Raises ValueError for any other text, ImportError without
    PyYAML.
    """
    if len(text) > MAX_LETTERS:
        raise ValueError(f"it has {len(text)} letters; {MAX_LETTERS} describe any model")
    loader = _loader()
    try:
        found = loader(text).get_single_data()
    # PyYAML lets through what its constructors raise on nonsense: KeyError, IndexError, ...
    except Exception as problem:
        raise ValueError(
            f"it is no plain YAML: {plain(' '.join(str(problem).split()))[:120]}"
        ) from None
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
        """Aliases would let a short text stand for a huge tree, and nesting for a deep recursion."""

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
