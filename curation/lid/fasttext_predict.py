"""Predict the best label of each text, and its score, with a fastText model, in compiled loops over arrays.

The hidden vector of a text is the mean of the input rows of its features (see `fasttext_features`). The score of a
label follows from the hidden vector and the output matrix, either directly (`_predict_flat`) or along a Huffman tree of
the labels (`_predict_hierarchical`). The operations, their order and their single precision are those of fastText, so
labels are equal and scores differ only by rounding. The package `fasttext` works text by text on strings and hash maps,
and is slower.
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
_LOG_EPSILON: Final = 1e-5  # fastText adds it before it takes a logarithm
_SIGMOID_STEPS: Final = 512  # steps of fastText's table of the sigmoid function, which covers -8 to 8
_SIGMOID_EDGE: Final = 8


class Tree(NamedTuple):
    """The Huffman tree of labels. Leaves have the numbers of their labels; inner nodes follow, the root last.

    Attributes:
        lefts, rights: the children of each node; -1 for leaves.
    """

    lefts: Ints
    rights: Ints


class Predictor:
    """Predicts labels with a model.

    Attributes:
        labels: in the order of their numbers.
    """

    def __init__(self, model: Model) -> None:
        self.labels = model.labels
        self._dictionary = build_dictionary(model)
        self._rows = model.rows
        self._loss = model.loss
        self._outputs = np.array(model.outputs if model.loss == HIERARCHICAL else model.outputs.T, order="C")
        self._tree = build_tree(model.label_counts)

    def predict(self, column: pa.StringArray) -> tuple[Ints, Floats]:
        """Return the number of the best label of each text, or -1 if there is none, and its score."""
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
                _predict_hierarchical(means, ends, self._outputs, self._tree, labels[first:last], scores[first:last])
            else:
                softmax = self._loss == SOFTMAX
                _predict_flat(means, ends, self._outputs, softmax, labels[first:last], scores[first:last])
            first = last
        return labels, scores


def build_tree(counts: list[int]) -> Tree:
    """Build the tree of labels from their numbers of occurrences, sorted in descending order."""
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
    """Return the mean of the input rows of each text; zeros for a text without rows."""
    columns = matrix.shape[1]
    means = np.zeros((len(ends) - 1, columns), np.float32)
    for text in range(len(means)):
        mean = means[text]
        for at in range(ends[text], ends[text + 1]):
            row = matrix[rows[at]]
            for column in range(columns):
                mean[column] += row[column]
        if ends[text] < ends[text + 1]:
            scale = np.float32(1 / (ends[text + 1] - ends[text]))
            for column in range(columns):
                mean[column] *= scale
    return means


@jit
def _log(probability: Any) -> Any:
    return np.float32(math.log(np.float64(probability) + _LOG_EPSILON))


@jit
def _predict_hierarchical(
    means: Floats, ends: Offsets, outputs: Floats, tree: Tree, labels: Ints, scores: Floats
) -> None:
    """Write the best leaf of the tree for each text, and its score.

    Searches depth-first, the left child first, and skips nodes whose probability is below that of the best leaf so far.
    """
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
        num_pending = 1
        while num_pending:
            num_pending -= 1
            node, path = nodes[num_pending], paths[num_pending]
            if path < best:
                continue
            if lefts[node] < 0:
                best, label = path, node
                continue
            product = np.float32(0)
            for column in range(columns):
                product += means[text, column] * outputs[node - leaves, column]
            right = np.float32(1 / np.float64(np.float32(1) + math.exp(-product)))
            nodes[num_pending], paths[num_pending] = rights[node], path + _log(right)
            nodes[num_pending + 1], paths[num_pending + 1] = lefts[node], path + _log(1 - np.float64(right))
            num_pending += 2
        labels[text] = label
        if label >= 0:
            scores[text] = math.exp(best)


@jit
def _sigmoid(value: Any) -> Any:
    """Return the sigmoid function with the precision of fastText's table."""
    if value < -_SIGMOID_EDGE:
        return np.float32(0)
    if value > _SIGMOID_EDGE:
        return np.float32(1)
    step = np.int64((value + np.float32(_SIGMOID_EDGE)) * np.float32(_SIGMOID_STEPS) / np.float32(_SIGMOID_EDGE) / 2)
    rounded = np.float32(np.float32(step * 2 * _SIGMOID_EDGE) / np.float32(_SIGMOID_STEPS) - np.float32(_SIGMOID_EDGE))
    return np.float32(1 / (1 + np.float64(math.exp(-rounded))))


@jit
def _predict_flat(means: Floats, ends: Offsets, outputs: Floats, softmax: bool, labels: Ints, scores: Floats) -> None:
    """Write the best label of each text, the last of equal ones, and its score; `outputs` has one column per label."""
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
            largest = values.max()
            total = np.float32(0)
            for label in range(count):
                values[label] = math.exp(values[label] - largest)
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
