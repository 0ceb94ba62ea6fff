"""What a CUDA device needs beyond CuPy's arrays: kernels, matrix products, captured graphs."""
