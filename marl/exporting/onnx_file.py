"""ONNX: a graph that runtimes of many languages and devices run."""

import importlib.util
import logging
import warnings
from typing import Any, cast

import torch

from marl.acting.policy import Policy
from marl.errors import ExportFailed, MissingExtra
from marl.exporting.description import KEY, described
from marl.exporting.module import ExportedPolicy, demand_any_rows

SUFFIX = ".onnx"
PACKAGES = ("onnx", "onnxscript")


def demand() -> None:
    """Say before a file is read that it cannot be written in this format.

    Raises:
        MissingExtra: a package is not installed.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "export", "an ONNX file")


def to_bytes(policy: Policy) -> bytes:
    """The file's content; all tensors are in it, none in a file beside it.

    Raises:
        ExportFailed: torch cannot follow the network, or it is too large for one file.
    """
    module = ExportedPolicy(policy)
    rows = torch.export.Dim("batch")
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                module.example(),
                dynamo=True,
                input_names=[field.name for field in module.inputs],
                output_names=[field.name for field in module.outputs],
                dynamic_shapes=(tuple({0: rows} for _ in module.inputs),),
                verbose=False,
            )
            demand_any_rows(module, cast(Any, program).exported_program.module())
        graph = cast(Any, program).model_proto
        graph.metadata_props.add(key=KEY, value=described(policy, module))
        return cast(bytes, graph.SerializeToString())
    except Exception as error:  # whatever a user's network does
        raise ExportFailed.of("ONNX", error) from error
    finally:
        logger.setLevel(level)
