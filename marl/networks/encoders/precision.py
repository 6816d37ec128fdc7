"""How exactly convolutions are computed while they learn."""

import torch

PRECISIONS = ("float32", "bfloat16", "auto")


def learned_dtype(precision: str) -> torch.dtype:
    """What products of convolutions are computed in: ``precision``, or with "auto" what this machine is fast with."""
    if precision == "auto":
        precision = "bfloat16" if computes_bfloat16() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def computes_bfloat16() -> bool:
    """Whether this processor has instructions for it. Without them it takes longer than float32."""
    # Torch has no public question for it. Where a version of it lacks these, nothing is lost but time.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, question, bool)() for question in questions)
