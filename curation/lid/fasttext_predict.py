"""Predictions of a fastText model by compiled loops: the best label of each text, and its score.

They compute what fastText computes, in its order and in single precision, so that labels are the same and scores differ
by rounding alone. The package `fasttext` does it text by text with strings and hash maps; here are arrays.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from curation.jit.compiler import Ints, Offsets, jit
from curation.jit.utf8 import string_buffers
from curation.lid.fasttext_features import build_dictionary, collect_feature_rows
from curation.lid.fasttext_file import HIERARCHICAL, SOFTMAX, Floats, Model

BLOCK_TEXTS: Final = 1024
BLOCK_BYTES: Final = 1 << 17
_TINY: Final = 1e-5  # what fastText adds before it takes a logarithm
_SIGMOID_STEPS: Final = 512  # of its table of the sigmoid function, from -8 to 8
_SIGMOID_EDGE: Final = 8


class Tree(NamedTuple):
    """The Huffman tree of labels. Leaves are numbered as the labels are, then come the inner nodes, the root last.

    Attributes:
        lefts, rights: the nodes below each node; -1 for leaves.
    """

    lefts: Ints
    rights: Ints


class Predictor:
    """Predicts labels with a model.

    Attributes:
        labels: by their numbers.
    """

    def __init__(self, model: Model) -> None:
        self.labels = model.labels
        self._dictionary = build_dictionary(model)
        self._rows = model.rows
        self._loss = model.loss
        self._outputs = np.array(model.outputs if model.loss == HIERARCHICAL else model.outputs.T, order="C")
        self._tree = build_tree(model.label_counts)

    def predict(self, column: pa.StringArray) -> tuple[Ints, Floats]:
        """Return the number of the best label of each text, or -1 when there is none, and its score."""
        data, offsets = string_buffers(column)
        texts = len(column)
        labels, scores = np.full(texts, -1, np.int32), np.zeros(texts, np.float32)
        first = 0
        while first < texts:
            full = int(np.searchsorted(offsets, offsets[first] + BLOCK_BYTES, side="right")) - 1
            last = min(max(full, first + 1), first + BLOCK_TEXTS, texts)
            rows, ends = collect_feature_rows(data, offsets[first : last + 1], self._dictionary)
            means = _average(rows, ends, self._rows)
            if self._loss == HIERARCHICAL:
                _climb(means, ends, self._outputs, self._tree, labels[first:last], scores[first:last])
            else:
                softmax = self._loss == SOFTMAX
                _compare(means, ends, self._outputs, softmax, labels[first:last], scores[first:last])
            first = last
        return labels, scores


def build_tree(counts: list[int]) -> Tree:
    """Return the tree of labels that occurred so often, the most frequent first."""
    leaves = len(counts)
    nodes = [*counts, *[10**15] * (leaves - 1)]
    below = np.full((2, len(nodes)), -1, np.int32)
    leaf, node = leaves - 1, leaves
    for parent in range(leaves, len(nodes)):
        for side in range(2):
            if leaf >= 0 and nodes[leaf] < nodes[node]:
                below[side, parent], leaf = leaf, leaf - 1
            else:
                below[side, parent], node = node, node + 1
        nodes[parent] = sum(nodes[child] for child in below[:, parent].tolist())
    return Tree(below[0], below[1])


@jit
def _average(rows: Ints, ends: Offsets, matrix: Floats) -> Floats:
    """Return the mean of the rows of each text; zeros for a text without any."""
    columns = matrix.shape[1]
    means = np.zeros((len(ends) - 1, columns), np.float32)
    for text in range(len(means)):
        mean = means[text]
        for at in range(ends[text], ends[text + 1]):
            row = matrix[rows[at]]
            for column in range(columns):
                mean[column] += row[column]
        if ends[text] < ends[text + 1]:
            share = np.float32(1 / (ends[text + 1] - ends[text]))
            for column in range(columns):
                mean[column] *= share
    return means


@jit
def _log(share: Any) -> Any:
    return np.float32(math.log(np.float64(share) + _TINY))


@jit
def _climb(means: Floats, ends: Offsets, outputs: Floats, tree: Tree, labels: Ints, scores: Floats) -> None:
    """Put the best leaf of the tree for each text: the left side first, nothing worse than the best so far."""
    lefts, rights = tree
    root = len(lefts) - 1
    leaves = root // 2 + 1
    columns = means.shape[1]
    nodes = np.empty(len(lefts) + 1, np.int32)
    paths = np.empty(len(lefts) + 1, np.float32)
    for text in range(len(means)):
        if ends[text] == ends[text + 1]:
            continue
        best = _log(np.float32(0))
        label = -1
        nodes[0], paths[0] = root, np.float32(0)
        waiting = 1
        while waiting:
            waiting -= 1
            node, path = nodes[waiting], paths[waiting]
            if path < best:
                continue
            if lefts[node] < 0:
                best, label = path, node
                continue
            product = np.float32(0)
            for column in range(columns):
                product += means[text, column] * outputs[node - leaves, column]
            right = np.float32(1 / np.float64(np.float32(1) + math.exp(-product)))
            nodes[waiting], paths[waiting] = rights[node], path + _log(right)
            nodes[waiting + 1], paths[waiting + 1] = lefts[node], path + _log(1 - np.float64(right))
            waiting += 2
        labels[text] = label
        if label >= 0:
            scores[text] = math.exp(best)


@jit
def _sigmoid(value: Any) -> Any:
    """Return the sigmoid function as fastText reads it off a table."""
    if value < -_SIGMOID_EDGE:
        return np.float32(0)
    if value > _SIGMOID_EDGE:
        return np.float32(1)
    step = np.int64((value + np.float32(_SIGMOID_EDGE)) * np.float32(_SIGMOID_STEPS) / np.float32(_SIGMOID_EDGE) / 2)
    place = np.float32(np.float32(step * 2 * _SIGMOID_EDGE) / np.float32(_SIGMOID_STEPS) - np.float32(_SIGMOID_EDGE))
    return np.float32(1 / (1 + np.float64(math.exp(-place))))


@jit
def _compare(means: Floats, ends: Offsets, outputs: Floats, softmax: bool, labels: Ints, scores: Floats) -> None:
    """Put the best of all labels for each text, the last of equal ones; `outputs` has a column for each label."""
    columns, count = outputs.shape
    values = np.empty(count, np.float32)
    for text in range(len(means)):
        if ends[text] == ends[text + 1]:
            continue
        values[:] = 0
        for column in range(columns):
            factor = means[text, column]
            row = outputs[column]
            for label in range(count):
                values[label] += factor * row[label]
        if softmax:
            most = values.max()
            total = np.float32(0)
            for label in range(count):
                values[label] = math.exp(values[label] - most)
                total += values[label]
            for label in range(count):
                values[label] /= total
        else:
            for label in range(count):
                values[label] = _sigmoid(values[label])
        best = np.float32(-math.inf)
        for label in range(count):
            score = _log(values[label])
            if score >= best:
                best, labels[text] = score, label
        scores[text] = math.exp(best)
