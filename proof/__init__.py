"""The proof: what balancing by language does to a model, measured on a small web of real pictures."""
