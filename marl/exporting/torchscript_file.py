"""TorchScript: a graph for ``torch.jit.load`` and for C++ programs that link libtorch."""

import io
import warnings

import torch

from marl.acting.policy import Policy
from marl.errors import ExportFailed
from marl.exporting.description import KEY, described
from marl.exporting.module import ExportedPolicy, demand_any_rows

SUFFIX = ".torchscript"


def demand() -> None:
    """Torch itself writes it."""


def to_bytes(policy: Policy) -> bytes:
    """The file's content.

    Raises:
        ExportFailed: torch cannot trace the network, or what it traced holds for one number of rows alone.
    """
    module = ExportedPolicy(policy)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(module, module.example(), check_trace=False)  # type: ignore[no-untyped-call]
            demand_any_rows(module, traced)
            torch.jit.save(traced, buffer, _extra_files={f"{KEY}.json": described(policy, module)})
    except Exception as error:  # whatever a user's network does
        raise ExportFailed.of("TorchScript", error) from error
    return buffer.getvalue()
