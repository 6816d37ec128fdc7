"""What to say of an id that gymnasium does not know, or no longer has."""

import difflib

import gymnasium
from gymnasium.envs.registration import find_highest_version, get_env_id, parse_env_id

from marl.environments.worlds.atari import new_id


def unknown(identifier: str, error: gymnasium.error.Error, where: str) -> str:
    """One line that ends with a remedy.

    Args:
        where: in which module of the user's it was looked for; empty: in none.
    """
    start = f"no environment named {identifier!r}{where}"
    if not where and (remedy := new_id(identifier)):
        return f"{start}: {remedy}"
    if newest := newest_version(identifier):
        return f"{start}: use {newest}, the newest version"
    near = difflib.get_close_matches(identifier, _newest_ids(), n=3, cutoff=0.6)
    if near:
        return f"{start}: did you mean {' or '.join(near)}?"
    reason = "" if isinstance(error, gymnasium.error.NameNotFound) else f" ({error})"
    return f"{start}{reason}: an environment of your own is named package.module:factory"


def newest_version(identifier: str) -> str | None:
    """The newest registered id of the same name, which may be this one; None where there is none with a version."""
    try:
        namespace, name, _ = parse_env_id(identifier)
    except gymnasium.error.Error:  # not of this form
        return None
    version = find_highest_version(namespace, name)
    return None if version is None else get_env_id(namespace, name, version)


def _newest_ids() -> list[str]:
    """All registered ids but older versions."""
    newest = {(spec.namespace, spec.name): spec for spec in sorted(gymnasium.registry.values(), key=_version)}
    return [spec.id for spec in newest.values()]


def _version(spec: gymnasium.envs.registration.EnvSpec) -> int:
    return -1 if spec.version is None else spec.version
