"""The samples of an epoch, where epochs differ: draws from every matched pair, and mixtures."""
