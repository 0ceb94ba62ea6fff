"""What a CUDA device needs beyond CuPy's arrays: kernels of our own, matrix products without
copies, captured graphs.
"""
