"""Explicit array maths on parameter dicts: `layer(params, x, spec, *, rng=None, hook=None)`, each
with its init beside it.
"""
