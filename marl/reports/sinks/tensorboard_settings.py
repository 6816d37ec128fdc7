"""A run's settings as TensorBoard's plug-ins for texts and hyperparameters want them."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

# What the tab HPARAMS sorts runs by.
_METRICS = ("evaluation/return_mean", "return/mean")


def settings_values(settings: Mapping[str, Any]) -> list[Any]:
    """One value of a summary for each: the settings as text, the experiment, the run's own hyperparameters.

    Args:
        settings: tables of tables, as in ``config.toml``.
    """
    from tensorboard.compat.proto.summary_pb2 import (  # type: ignore[import-untyped, unused-ignore]
        Summary,
    )
    from tensorboard.compat.proto.tensor_pb2 import (  # type: ignore[import-untyped, unused-ignore]
        TensorProto,
    )
    from tensorboard.compat.proto.tensor_shape_pb2 import (  # type: ignore[import-untyped, unused-ignore]
        TensorShapeProto,
    )
    from tensorboard.plugins.hparams import (  # type: ignore[import-untyped, unused-ignore]
        api_pb2,
        metadata,
        plugin_data_pb2,
    )
    from tensorboard.plugins.text import (  # type: ignore[import-untyped, unused-ignore]
        metadata as text_metadata,
    )

    flat = dict(_flat(settings))
    rows = "\n".join(f"| {name} | {_as_text(value)} |" for name, value in flat.items())
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    table = f"| setting | value |\n| --- | --- |\n{rows}".encode()
    text = Summary.Value(
        tag="settings",
        metadata=text_metadata.create_summary_metadata("settings", ""),
        tensor=TensorProto(dtype="DT_STRING", string_val=[table], tensor_shape=shape),
    )
    experiment = api_pb2.Experiment(
        hparam_infos=[api_pb2.HParamInfo(name=name) for name in flat],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in _METRICS],
    )
    session = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in flat.items():
        if isinstance(value, bool):
            session.hparams[name].bool_value = value
        elif isinstance(value, (int, float)):
            session.hparams[name].number_value = value
        else:
            session.hparams[name].string_value = str(value)
    plugins = {
        metadata.EXPERIMENT_TAG: plugin_data_pb2.HParamsPluginData(experiment=experiment),
        metadata.SESSION_START_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_start_info=session),
    }
    return [
        text,
        *(
            Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
            for tag, data in plugins.items()
        ),
    ]


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its path, such as ``algorithm.learning_rate``."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _as_text(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
