"""Fused kernels, a file each, named as the plain array version of the same thing in `ops/` or
`train/`.
"""
