"""How fast and how large on a device, beside PyTorch on the same one, in the same process.

`suite.run` measures the parts of a `plan` one after the other and gives its results after each,
so that a run which is cut off has told what it has. `tables` and `page` turn results into words.
torch is met in `torch_calls` alone, which gets it from `bench.peers`.
"""
