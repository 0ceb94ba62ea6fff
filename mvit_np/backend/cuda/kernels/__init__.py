"""Fused kernels, a file each, named as the plain version of the same in `ops/` or `train/`."""
