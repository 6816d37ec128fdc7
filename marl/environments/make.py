"""Find an environment by name and make it, alone or many at once."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import gymnasium
from gymnasium.vector import VectorEnv

from marl.environments.closing import close_all
from marl.environments.masks import INFO, FromInfo
from marl.environments.serial import SerialVector
from marl.environments.settings import EnvironmentSettings
from marl.environments.single import OfVector
from marl.environments.worlds.apart import apart, lives_alone
from marl.environments.worlds.atari import PREFIX, atari_kwargs, is_atari
from marl.environments.worlds.brought import register
from marl.environments.worlds.doom import tidy
from marl.environments.worlds.mujoco import prepare
from marl.environments.worlds.pooled import SeededPool, demand_offered
from marl.environments.worlds.screen import game
from marl.environments.worlds.unknown import newest_version, unknown
from marl.errors import EnvironmentFault, MarlError, MissingExtra, SpaceFault
from marl.plugins import described, hidden, load_module, load_object

GymEnv = gymnasium.Env[Any, Any]
GymVectorEnv = VectorEnv[Any, Any, Any]
Made = TypeVar("Made")

EXTRAS = {"box2d": "Box2D", "mujoco": "MuJoCo"}  # of gymnasium, which marl has under the same names


def make_vector(settings: EnvironmentSettings, count: int, *, training: bool = False) -> GymVectorEnv:
    """``count`` environments stepped together: envpool's, the environment's own vectorised form, or one after another.

    Args:
        training: whether ``settings.life_ends`` counts.

    Raises:
        EnvironmentFault: there is no such environment, or it does not start.
        MissingExtra: a package that it needs is not installed.
    """
    if settings.life_ends and not (is_atari(settings.id) and settings.backend == "gymnasium"):
        raise EnvironmentFault(
            f"environment.life_ends: expected false but for Atari games ({PREFIX}...), got true with {settings.id}"
        )
    if settings.backend == "envpool":
        _demand_no_info(settings)
        demand_offered(settings.id)
        return _guarded(settings, lambda: SeededPool(settings.id, count, settings.kwargs))
    if settings.backend != "gymnasium":
        raise EnvironmentFault(f"environment.backend: expected 'gymnasium' or 'envpool', got {settings.backend!r}")
    factory = _find_factory(settings.id)
    if factory is not None:
        return _guarded(settings, lambda: _vectorize(settings, factory, settings.kwargs, count), factory)
    spec = _find_spec(settings.id)
    if _comes_as_vector(spec, settings):
        kwargs = settings.kwargs
        if is_atari(spec.id):
            kwargs = atari_kwargs(kwargs, life_ends=training and settings.life_ends)
        return _guarded(settings, lambda: gymnasium.make_vec(spec, count, "vector_entry_point", **kwargs))
    if count > 1 and lives_alone(spec):
        _demand_no_info(settings)
        return _guarded(settings, lambda: apart(spec, settings.kwargs, count))
    return _guarded(settings, lambda: _vectorize(settings, _maker(spec), settings.kwargs, count))


def make_single(settings: EnvironmentSettings, render_mode: str | None = None) -> GymEnv:
    """One environment, for checking or watching it.

    Raises:
        EnvironmentFault: there is no such environment, or it does not start.
        MissingExtra: a package that it needs is not installed.
    """
    factory = _find_factory(settings.id) or _maker(_find_spec(settings.id))
    kwargs = dict(settings.kwargs)
    if render_mode is not None:
        kwargs["render_mode"] = render_mode

    def make() -> GymEnv:
        if _takes_num_envs(factory):
            return OfVector(_vectorize(settings, factory, kwargs, 1))
        return _seen(settings, _one(settings.id, factory(**kwargs)))

    environment = _guarded(settings, make, factory)
    _demand_spaces(settings.id, environment)
    return environment


def make_alone(settings: EnvironmentSettings) -> GymEnv:
    """One environment as training sees it: of one that comes as a vector, a vector of one.

    Raises:
        EnvironmentFault, MissingExtra: see ``make_single``.
    """
    if settings.backend != "gymnasium" or own_vector(settings) is not None:
        return OfVector(make_vector(settings, 1))
    return make_single(settings)


def own_vector(settings: EnvironmentSettings) -> Callable[[int], GymVectorEnv] | None:
    """Where training plays a vector that comes with an environment: what makes one that plays single environments one
    after another in its place, for comparison. None: training does that itself.

    Raises:
        EnvironmentFault, MissingExtra: see ``make_single``.
    """
    if _find_factory(settings.id) is not None or not _comes_as_vector(spec := _find_spec(settings.id), settings):
        return None
    return lambda count: _guarded(settings, lambda: _vectorize(settings, _maker(spec), settings.kwargs, count))


def _demand_spaces(name: str, environment: GymEnv) -> None:
    """Close an environment that does not say what it shows and takes."""
    for space in ("observation_space", "action_space"):
        try:
            getattr(environment, space)
        except (Exception, SystemExit) as error:
            close_all([environment], name)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise EnvironmentFault(
                f"expected {name} to have an {space}, got {reason}: set it in the environment's __init__"
            ) from error


def registered_threshold(settings: EnvironmentSettings) -> float | None:
    """The return that counts as solved as the environment's registration says; None where it does not.

    Raises:
        EnvironmentFault: there is no such environment.
    """
    if settings.backend == "envpool" and settings.id not in gymnasium.registry:
        return None  # envpool alone has it
    return None if _find_factory(settings.id) is not None else _find_spec(settings.id).reward_threshold


def _find_factory(name: str) -> Callable[..., Any] | None:
    """``package.module:factory``, if ``name`` is that and not ``package.module:Id-v0``."""
    module_name, separator, attribute = name.partition(":")
    if not separator or not attribute.isidentifier():
        return None
    module = load_module(module_name)
    if not hasattr(module, attribute) and attribute in gymnasium.registry:
        return None
    factory = load_object(name)
    if not callable(factory):
        raise EnvironmentFault(f"expected {name} to be a class or function that makes an environment, got {factory!r}")
    return factory  # type: ignore[no-any-return]


def _find_spec(name: str) -> gymnasium.envs.registration.EnvSpec:
    module_name, separator, identifier = name.partition(":")
    module = load_module(module_name) if separator else None
    if module is None:
        identifier = name
        register(identifier)
    try:
        return gymnasium.spec(identifier)
    except gymnasium.error.Error as error:
        where = f" in {described(module)}{hidden(module)}" if module is not None else ""
        raise EnvironmentFault(unknown(identifier, error, where)) from error


def _maker(spec: gymnasium.envs.registration.EnvSpec) -> Callable[..., GymEnv]:
    if is_atari(spec.id):
        return partial(game, spec)

    def make(**kwargs: Any) -> GymEnv:
        prepare(spec)
        return tidy(gymnasium.make(spec, disable_env_checker=True, **kwargs))  # `marl check` checks; training need not

    return make


def _vectorize(
    settings: EnvironmentSettings, factory: Callable[..., Any], kwargs: dict[str, Any], count: int
) -> GymVectorEnv:
    """A user's factory may take ``num_envs`` and answer with a vector of its own; else one is built around it."""
    name = settings.id
    if _takes_num_envs(factory):
        _demand_no_info(settings)
        vector = factory(num_envs=count, **kwargs)
        if not isinstance(vector, VectorEnv):
            if isinstance(vector, gymnasium.Env):
                close_all([vector], name)
            raise EnvironmentFault(f"a factory that takes num_envs must make a gymnasium VectorEnv, got {type(vector)}")
        number = getattr(vector, "num_envs", None)
        if number != count:
            close_all([vector], name)
            raise EnvironmentFault(
                f"expected {name} to make a vector of num_envs = {count}, got one of {number}: "
                "make as many environments as num_envs says"
            )
        return vector

    return SerialVector(lambda: _seen(settings, _one(name, factory(**kwargs))), count, name)


def _seen(settings: EnvironmentSettings, environment: GymEnv) -> GymEnv:
    """What training sees of an environment."""
    if settings.mask != INFO:
        return environment
    try:
        return FromInfo(environment, settings.id)
    except MarlError:
        close_all([environment], settings.id)
        raise


def _comes_as_vector(spec: gymnasium.envs.registration.EnvSpec, settings: EnvironmentSettings) -> bool:
    return spec.vector_entry_point is not None and not spec.additional_wrappers and settings.mask != INFO


def _demand_no_info(settings: EnvironmentSettings) -> None:
    if settings.mask == INFO:
        raise SpaceFault(
            f"environment.mask = {INFO!r}: expected single environments, {settings.id} is a vector of many: let its "
            "observations have the mask as an entry, and name that"
        )


def _one(name: str, made: object) -> GymEnv:
    """What a factory made, once it is known to be one environment.

    Raises:
        EnvironmentFault: it is something else, and closed if it is a vector.
    """
    if isinstance(made, VectorEnv):
        close_all([made], name)
        raise EnvironmentFault(
            f"expected {name} to make one environment, got a vector of {made.num_envs}: "
            "give it an argument num_envs, the number of environments in its vector"
        )
    if not isinstance(made, gymnasium.Env):
        raise EnvironmentFault(
            f"expected {name} to make a gymnasium environment, got {type(made).__name__}: "
            "derive its class from gymnasium.Env"
        )
    return made


def _takes_num_envs(factory: Callable[..., Any]) -> bool:
    try:
        return "num_envs" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def _guarded(
    settings: EnvironmentSettings, make: Callable[[], Made], factory: Callable[..., Any] | None = None
) -> Made:
    """Whatever a foreign constructor raises, as one line with a remedy."""
    try:
        return make()
    except MarlError:
        raise
    except (Exception, SystemExit) as error:
        raise _fault(settings, error, factory) from error


def _fault(settings: EnvironmentSettings, error: BaseException, factory: Callable[..., Any] | None) -> MarlError:
    name = settings.id
    if isinstance(error, gymnasium.error.DependencyNotInstalled):
        found = re.search(r"gymnasium\[([\w-]+)\]", str(error))
        if found and found[1] in EXTRAS:
            return MissingExtra(EXTRAS[found[1]], found[1], name)
        return EnvironmentFault(f"{name} needs a package that is not installed: {error}")
    if isinstance(error, ModuleNotFoundError):
        return EnvironmentFault(
            f"{name} needs the package {error.name!r}: install it (for gymnasium's own, see its extras)"
        )
    if "gymnasium-robotics" in str(error) and (newest := newest_version(name)):  # of MuJoCo, v3 and older
        return EnvironmentFault(f"gymnasium does not have {name} any more: use {newest}, the newest version")
    if isinstance(error, TypeError) and _misfit(factory, settings.kwargs, str(error)):
        return EnvironmentFault(f"{name} does not accept {settings.kwargs or 'no arguments'}: {error}")
    return EnvironmentFault(f"{name} does not start: {type(error).__name__}: {error}")


def _misfit(factory: Callable[..., Any] | None, kwargs: dict[str, Any], text: str) -> bool:
    """Whether the arguments are what a TypeError is about: a factory does not take them, or what it hands them to."""
    named = re.search(r"(?:unexpected keyword argument|multiple values for (?:keyword )?argument) '(\w+)'", text)
    if named and named[1] in kwargs:
        return True
    if factory is None:
        return False
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # written in C
        return False
    given = {"num_envs": 1} if "num_envs" in signature.parameters else {}
    try:
        signature.bind(**given, **kwargs)
    except TypeError:
        return True
    return False
