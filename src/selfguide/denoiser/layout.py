"""Which blocks a U-Net consists of and how wide they are. The network is built from it, and the configuration checked.

Nothing here needs torch: every stage checks the configuration before anything runs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: Keys of the `denoiser` section that decide a layout.
LAYOUT_KEYS = ("patch_size", "base_channels", "channel_multipliers", "num_blocks", "attention_resolutions")
#: Groups of the group normalisations; a map of fewer channels has as many groups as channels.
NUM_GROUPS = 32
#: Channels of a map. A convolution of so many has 10 GB; the widest networks that are trained have a fifth of them.
MAX_CHANNELS = 16_384


@dataclass(frozen=True)
class Block:
    """A residual block, and whether self-attention follows it.

    Attributes:
        channels_in: of its input, in the decoder with the skip connection's.
        channels_out: of its output, and of the attention's.
        side: cells a side of its input.
        attends: self-attention follows.
        resample: what happens to the side.
    """

    channels_in: int
    channels_out: int
    side: int
    attends: bool = False
    resample: Literal["none", "down", "up"] = "none"


@dataclass(frozen=True)
class Layout:
    """A U-Net from the stem's output to the head's input.

    Attributes:
        sides: cells a side of each level.
        stem: channels of the stem.
        encoder, middle, decoder: blocks in order; the output of the stem and of each encoder block is a skip connection
            of the decoder blocks that do not resample, the last one first.
    """

    sides: tuple[int, ...]
    stem: int
    encoder: tuple[Block, ...]
    middle: tuple[Block, ...]
    decoder: tuple[Block, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All of them in the order in which they run."""
        return *self.encoder, *self.middle, *self.decoder


def lay_out(
    image_size: int,
    patch_size: int,
    base_channels: int,
    channel_multipliers: Sequence[int],
    num_blocks: int,
    attention_resolutions: Sequence[int],
) -> Layout:
    """The layout of a `selfguide.denoiser.config.UNetConfig` for maps of `image_size` cells a side; see `faults`."""
    sides = tuple((image_size // patch_size) >> level for level in range(len(channel_multipliers)))
    levels = [(base_channels * multiplier, side) for multiplier, side in zip(channel_multipliers, sides, strict=True)]
    stem = channels = levels[0][0]
    encoder, decoder, skips = [], [], [stem]
    for level, (width, side) in enumerate(levels):
        for _ in range(num_blocks):
            encoder.append(Block(channels, width, side, side in attention_resolutions))
            channels = width
            skips.append(channels)
        if level < len(levels) - 1:
            encoder.append(Block(channels, channels, side, resample="down"))
            skips.append(channels)
    middle = Block(channels, channels, sides[-1], attends=True), Block(channels, channels, sides[-1])
    for level, (width, side) in reversed(list(enumerate(levels))):
        for _ in range(num_blocks + 1):
            decoder.append(Block(channels + skips.pop(), width, side, side in attention_resolutions))
            channels = width
        if level > 0:
            decoder.append(Block(channels, channels, side, resample="up"))
    return Layout(sides, stem, tuple(encoder), middle, tuple(decoder))


def faults(image_size: int, config: Mapping[str, Any]) -> Iterator[str]:
    """Why no network can be built.

    Args:
        image_size: side of the images in pixels.
        config: `LAYOUT_KEYS` and `num_heads` of the `denoiser` section.

    Returns:
        a sentence for each reason, which begins with the key; none if a network can be built.
    """
    layout = lay_out(image_size, **{key: config[key] for key in LAYOUT_KEYS})
    unit = config["patch_size"] * 2 ** (len(layout.sides) - 1)
    if image_size % unit:
        yield (
            f"images.size: {image_size} is not a multiple of {unit} = denoiser.network.patch_size x 2 **"
            " (levels - 1); change images.size, denoiser.network.patch_size or denoiser.network.channel_multipliers"
        )
    unknown = [side for side in config["attention_resolutions"] if side not in layout.sides]
    if unknown and not image_size % unit:
        yield (
            f"denoiser.network.attention_resolutions: no level has side {unknown[0]}; expected some of"
            f" {', '.join(map(str, layout.sides))} (images.size / denoiser.network.patch_size, and its halves), or []"
        )
    base, heads = config["base_channels"], config["num_heads"]
    if base % 2:
        yield (
            f"denoiser.network.base_channels: {base} is odd; expected an even number, for the time is embedded in as"
            " many cosines as sines"
        )
    widths = [width for block in layout.blocks for width in (block.channels_in, block.channels_out)]
    for width in [width for width in widths if width % min(NUM_GROUPS, width)][:1]:
        yield (
            f"denoiser.network.base_channels: {base} makes maps of {width} channels, which do not divide into"
            f" {NUM_GROUPS} groups; use a multiple of {NUM_GROUPS}"
        )
    if max(widths) > MAX_CHANNELS:
        yield (
            f"denoiser.network.channel_multipliers: {max(widths)} channels in a map, with base_channels {base};"
            f" expected at most {MAX_CHANNELS}; lower one of both"
        )
    attending = {block.channels_out: block.side for block in layout.blocks if block.attends}
    for width in [width for width in attending if width % heads][:1]:
        yield (
            f"denoiser.network.num_heads: {heads} does not divide the {width} channels of the attention at side"
            f" {attending[width]}; use a divisor of {math.gcd(*attending)}"
        )
