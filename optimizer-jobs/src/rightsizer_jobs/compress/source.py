"""The weights to compress: is the folder a model, how large will the artefact be, which files go along unchanged. Reads
headers only.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

from rightsizer_jobs.compress.recipes import Recipe

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".safetensors.index.json")
NOT_QUANTIZED = ("embed", "norm", "bias")
HEADER_LIMIT = 100_000_000
"""The format's own limit for a header, bytes."""
SAMPLES, SAMPLE_BYTES = 16, 64 * 1024
"""What a fingerprint reads of each weight file: so many pieces of so many bytes, spread over it."""
OVERHEAD = 1.05
"""Scales and zero points: at most one 16-bit scale for 128 weights of 4 bits, and what channel-wise schemes add."""

Tensors = Mapping[str, tuple[tuple[int, ...], int]]
"""Shape and bytes of each tensor by name."""


class SourceUnreadable(ValueError):
    """The source is no model folder, or not readable; the message names the field and the remedy."""


def check(source: Path) -> tuple[Path, ...]:
    """The weight files of the folder; raises SourceUnreadable."""
    try:
        json.loads((source / "config.json").read_bytes())
        weights = tuple(sorted(source.glob("*.safetensors")))
        for file in weights:
            with file.open("rb") as opened:
                opened.read(8)
    except (OSError, ValueError) as error:
        raise SourceUnreadable(
            f"source_path {source}: no readable model ({error}); "
            "it must hold config.json and weights readable by the Job's user"
        ) from error
    if not weights:
        raise SourceUnreadable(
            f"source_path {source}: holds no *.safetensors; convert the weights to safetensors first"
        )
    return weights


def fingerprint(source: Path) -> str:
    """16 hex digits that tell other weights under the same path: over ``config.json`` and each weight file's name, size
    and samples. Files' times play no part, since a copy is the same model; a change that touches no sample is not seen.
    Raises OSError.
    """
    found = hashlib.sha256()
    for file in sorted(source.iterdir()):
        if file.name == "config.json" or file.name.endswith(WEIGHTS):
            found.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            for piece in _samples(file):
                found.update(piece)
    return found.hexdigest()[:16]


def _samples(file: Path) -> Iterator[bytes]:
    """The whole of a small file; of a large one its first and last pieces, and others at equal distances."""
    size = file.stat().st_size
    last = max(0, size - SAMPLE_BYTES)
    offsets = {last * number // (SAMPLES - 1) for number in range(SAMPLES)}
    with file.open("rb") as opened:
        if size <= SAMPLES * SAMPLE_BYTES:
            yield opened.read()
            return
        for offset in sorted(offsets):
            opened.seek(offset)
            yield opened.read(SAMPLE_BYTES)


def tensors(files: Iterable[Path]) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shapes and sizes from the headers of safetensors files; raises SourceUnreadable for a damaged one."""
    return {name: size for file in files for name, size in _header(file).items()}


def _header(file: Path) -> dict[str, tuple[tuple[int, ...], int]]:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > HEADER_LIMIT:
                raise ValueError("its header is too long")
            header = json.loads(opened.read(length))
        return {
            name: (tuple(entry["shape"]), entry["data_offsets"][1] - entry["data_offsets"][0])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SourceUnreadable(f"source_path: {file.name} is not a valid safetensors file ({error})") from error


def artefact_bytes(found: Tensors, recipe: Recipe) -> int:
    """What the artefact will take at most: matrices of linear layers at the recipe's width, the rest as it is."""
    return sum(_compressed_bytes(name, shape, size, recipe) for name, (shape, size) in found.items())


def _compressed_bytes(name: str, shape: tuple[int, ...], size: int, recipe: Recipe) -> int:
    kept = len(shape) != 2 or any(part in name for part in (*NOT_QUANTIZED, *recipe.ignore))
    return size if kept else int(prod(shape) * recipe.weight_bits / 8 * OVERHEAD)


def copy_companions(source: Path, target: Path) -> None:
    """Copy tokenizer, chat template and the like: whatever is no weight file and the tool has not written itself."""
    for file in sorted(source.iterdir()):
        written = target / file.name
        if file.is_file() and not file.name.endswith(WEIGHTS) and not written.exists():
            shutil.copyfile(file, written)
