"""Data sets by name, made from what packages bring."""
