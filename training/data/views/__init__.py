"""Views of a sample: which text, edit, mask or augmentation a visit shows, as functions of a seed."""
