"""Convert a SentencePiece model to a tokenizer with the same ids and the same pieces for every text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, decoders, models, normalizers

UNIGRAM, BPE = 1, 2  # values of the field `model_type`
CONTROL, USER_DEFINED = 3, 4  # values of the field `type` of a piece
SPACE = "▁"


def read_sentencepiece(path: Path) -> tokenizers.Tokenizer:
    """Read a `.model` file of SentencePiece. Raises OSError, or ValueError for a file of another kind."""
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # generated when it is imported
    try:
        proto.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's error type differs between its implementations
        raise ValueError("it is not a SentencePiece model") from error
    core = tokenizers.Tokenizer(_model(proto))
    core.normalizer = _normalizer(proto.normalizer_spec)
    core.decoder = decoders.Metaspace(SPACE, "always" if proto.normalizer_spec.add_dummy_prefix else "never")
    core.add_special_tokens([piece.piece for piece in proto.pieces if piece.type == CONTROL])
    return core


def _model(proto: Any) -> models.Model:
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    if not pieces:
        raise ValueError("it is not a SentencePiece model")
    if any(piece.type == USER_DEFINED for piece in proto.pieces):
        raise ValueError("it has user-defined symbols: convert it to a tokenizer.json")
    spec = proto.trainer_spec
    if spec.model_type == UNIGRAM:
        return models.Unigram(pieces, spec.unk_id, spec.byte_fallback)
    if spec.model_type == BPE:
        vocabulary = {piece: number for number, (piece, _) in enumerate(pieces)}
        return models.BPE(
            vocabulary,
            _merges(pieces, vocabulary),
            unk_token=pieces[spec.unk_id][0],
            fuse_unk=True,
            byte_fallback=spec.byte_fallback,
        )
    raise ValueError("its model type is neither unigram nor BPE")


def _merges(pieces: list[tuple[str, float]], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Return every split of a piece into two pieces; SentencePiece merges the pair with the highest score first."""
    merges = []
    for piece, score in pieces:
        splits = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        merges += [
            (-score, vocabulary[left], vocabulary[right], left, right)
            for left, right in splits
            if left in vocabulary and right in vocabulary
        ]
    return [(left, right) for *_, left, right in sorted(merges)]


def _normalizer(spec: Any) -> normalizers.Normalizer:
    """Return the steps of SentencePiece: map characters, remove spaces, add one in front, and write them as `▁`."""
    steps: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
