"""How fast, how large and how exact: measured on this machine, beside PyTorch where asked for.

`suite` says what is measured and gathers it in one dict of plain numbers, which `tables` and `page`
turn into words. Nothing here is imported by `import mvit_np`, and only `peers` imports torch.
"""
