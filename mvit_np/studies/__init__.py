"""What nothing else imports: benchmarks, ablations, the pages of costs, the cases of gradients."""
