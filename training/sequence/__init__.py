"""Languages that are learned one after the other (CLL-CLIP, arXiv 2401.17186): a run for each, and what is kept."""
