"""Explicit array maths on parameter dicts: `layer(params, x, spec, *, rng=None, tap=None)`, each with its init beside it."""
