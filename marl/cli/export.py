"""``marl export``: a trained policy in a file that needs no marl."""

import click

from marl.cli.options import ACTIVATION, ALLOW, DEBUG


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("weights", metavar="[WEIGHTS]", default="weights.pt")
@click.option("--onnx", is_flag=True, help="A graph for ONNX Runtime and others (extra: export).")
@click.option("--torchscript", is_flag=True, help="A graph for torch.jit.load and libtorch.")
@click.option("--safetensors", is_flag=True, help="The tensors alone, with spaces and settings (extra: export).")
@click.option(
    "--out", metavar="FILE", help="Where it is written.  [default: beside the weights; here for those in a run folder]"
)
@click.option("--env", "environment", metavar="ENV", help="Of a stable-baselines3 policy, whose file does not say it.")
@ACTIVATION
@ALLOW
@DEBUG
def export(
    weights: str,
    onnx: bool,
    torchscript: bool,
    safetensors: bool,
    out: str | None,
    environment: str | None,
    activation: str | None,
    allow: tuple[str, ...],
    debug: bool,
) -> None:
    """Write a trained policy in another format: it takes raw observations and returns the environment's actions."""
    asked = {"onnx": onnx, "torchscript": torchscript, "safetensors": safetensors}
    forms = [form for form, wanted in asked.items() if wanted]
    if len(forms) != 1:
        raise click.UsageError(f"expected one of --onnx, --torchscript and --safetensors, got {len(forms)}")
    from marl.loading import loading

    with loading(for_good=True):
        from marl.api import export as api_export

    path = api_export(weights, forms[0], out=out, environment=environment, activation=activation, allow=allow)
    click.echo(f"{path}: {path.stat().st_size:,} bytes")
