"""Both encoders with the heads of a method, in one forward pass, as DDP requires."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad
from transformers import MetaClip2Model

from training.data.transforms import normalize_pixels
from training.models.features import Features
from training.models.frames import encode_frames
from training.models.heads import Heads, word_losses

MAX_TEXT_GROUPS, MIN_TEXT_GROUP = 4, 16  # groups per batch of texts; texts per group

Encoder = Literal["image", "frames", "text"]


class Outputs(NamedTuple):
    """What a training step computes.

    Attributes:
        encoders: the encoder of every view that is embedded, by name.
        raw: views whose features are also returned before normalization.
        siamese: views that go through a siamese head, with the name of its term.
        words: text views whose masked words are predicted, with the name of the term.
    """

    encoders: Mapping[str, Encoder]
    raw: Collection[str] = ()
    siamese: Mapping[str, str] = {}
    words: Mapping[str, str] = {}


PAIRS = Outputs({"image": "image", "text": "text"})  # plain contrastive training


class TwoTowers(nn.Module):
    """An image and a text encoder, and heads.

    Attributes:
        text_groups: into how many groups of similar length a batch of texts is divided at most.

    Args:
        model: the wrapped MetaClip2Model.
        outputs: what a training step computes.
        heads: the heads of terms; None: there are none.
    """

    def __init__(self, model: MetaClip2Model, outputs: Outputs = PAIRS, heads: Heads | None = None) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs
        self.heads = heads or Heads()
        self.text_groups = MAX_TEXT_GROUPS

    def parameters_by_name(self) -> dict[str, nn.Parameter]:
        """Return the parameters of the model by their names in it, then those of the heads as `heads.NAME`."""
        heads = {f"heads.{name}": parameter for name, parameter in self.heads.named_parameters()}
        return dict(self.model.named_parameters()) | heads

    def forward(self, views: Mapping[str, Tensor]) -> Features:
        """Return the features of a batch.

        Args:
            views: images are uint8 (n, height, width, 3), and frames of videos (n, frames, height, width, 3), on any
                device; tokens are ids (n, length), preferably on the CPU, because their lengths control the grouping;
                labels of masked tokens (n, length) have the name of their view with `.labels`.
        """
        rows: dict[str, Tensor] = {}
        for name, encoder in self.outputs.encoders.items():
            if encoder == "image":
                raw = self._image_features(views[name])
            elif encoder == "frames":
                raw = self._video_features(views[name])
            else:
                raw, words = self._text_features(views[name], self._word_head(name), views.get(f"{name}.labels"))
                if words is not None:
                    rows[f"{name}.words"] = words
            rows[name] = normalize(raw, dim=-1)
            if name in self.outputs.raw:
                rows[f"{name}.raw"] = raw
            if term := self.outputs.siamese.get(name):
                rows[f"{name}.predicted"], rows[f"{name}.projected"] = self.heads.siamese[term](raw)
        scalars = {"scale": self.model.logit_scale.exp()} | self.heads.scalars()
        if (bias := getattr(self.model, "logit_bias", None)) is not None:
            scalars["bias"] = bias
        return Features(rows, scalars)

    def embed_images(self, images: Tensor) -> Tensor:
        """Return the unit embeddings of images."""
        return normalize(self._image_features(images), dim=-1)

    def embed_videos(self, frames: Tensor) -> Tensor:
        """Return the unit embeddings of videos, given their frames."""
        return normalize(self._video_features(frames), dim=-1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Return the unit embeddings of texts."""
        return normalize(self._text_features(tokens)[0], dim=-1)

    def _image_features(self, images: Tensor) -> Tensor:
        """Return the projected features of images, of any length; with frame tokens, they are videos of one frame."""
        if self.heads.frames is not None:
            return encode_frames(self.model, self.heads.frames, images[:, None])
        pixels = normalize_pixels(images.to(self.model.device, non_blocking=True))
        features: Tensor = self.model.get_image_features(pixel_values=pixels).pooler_output.float()
        return features

    def _video_features(self, frames: Tensor) -> Tensor:
        """Return the projected features of videos, of any length; without frame tokens, the mean of their frames."""
        if self.heads.frames is not None:
            return encode_frames(self.model, self.heads.frames, frames)
        of_frames = normalize(self._image_features(frames.flatten(0, 1)), dim=-1)
        return of_frames.view(*frames.shape[:2], -1).mean(1)

    def _text_features(
        self, tokens: Tensor, head: nn.Module | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the projected features of texts, of any length, and the losses of masked words if there is a head.

        Attention is causal and the embedding is read at the end token, so later tokens have no effect. Texts of similar
        length are encoded together, truncated to the longest of them; most alt texts are far shorter than the context.
        """
        device, context = self.model.device, tokens.shape[1]
        lengths = tokens.eq(self.model.text_model.eos_token_id).int().argmax(1) + 1
        by_length = lengths.argsort(stable=True)
        parts: list[Tensor] = []
        words: list[Tensor] = []
        for rows in by_length.chunk(max(1, min(self.text_groups, len(tokens) // MIN_TEXT_GROUP))):
            length = int(lengths[rows[-1]])
            encoded = self.model.get_text_features(input_ids=tokens[rows, :length].to(device))
            parts.append(encoded.pooler_output)
            if head is not None and labels is not None:
                losses = word_losses(head, encoded.last_hidden_state, labels[rows, :length].to(device))
                words.append(pad(losses, (0, context - length)))
        order = by_length.argsort().to(device)
        return torch.cat(parts).float()[order], torch.cat(words)[order] if words else None

    def _word_head(self, view: str) -> nn.Module | None:
        term = self.outputs.words.get(view)
        return self.heads.words[term] if term else None
