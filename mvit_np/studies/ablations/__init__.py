"""The paper's ablations at small scale: models that differ in one thing, trained alike.

`table` says what is compared and what the paper found, `run` trains what is asked for, `findings`
judges the numbers, `page` turns them into words. Nothing here is imported by `import mvit_np`.
"""
