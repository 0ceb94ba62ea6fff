"""Explicit array maths on parameter dicts: `layer(params, x, spec, ...)`, its init beside it."""
