"""Device profiles: latency measurements of a device.

A profile belongs to one device: processor, runtime with its version, threads, data type. For each calibrated search space,
it holds the latencies of sampled networks: fit networks for the predictor, verify networks to check it. Spaces are identified
by their content, not their name (space_key.py). Anchors are never among the sampled networks. The predictor itself is not
stored; it is refitted on loading (evaluators.latency.predict.predictor).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from evaluators.latency.device.space_key import space_key
from evaluators.latency.kernels.kernel import Amount, Timed
from evaluators.latency.kernels.lowering import FEATURES
from evaluators.latency.runtime import Clock
from evaluators.latency.timing.measure import Milliseconds
from evaluators.precision import Precision
from search_spaces.errors import InputError
from search_spaces.schema import Count, FromZero, Seed, Whole, strict
from search_spaces.space import SearchSpace
from search_spaces.task import Input, check_input

LOCAL = "local"
Split = Literal["fit", "verify"]
FIT: Split = "fit"
VERIFY: Split = "verify"
Text = Annotated[str, Field(min_length=1, max_length=120)]


def _checked_date(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Date = Annotated[str, AfterValidator(_checked_date)]
Inputs = Annotated[tuple[Annotated[Input, AfterValidator(check_input)], ...], Field(min_length=1)]


@strict
@dataclass(frozen=True)
class Device:
    """What a profile is valid for: a change in any field makes another device."""

    cpu: Text
    runtime: Text
    runtime_version: Text
    threads: Count
    dtype: Precision

    @property
    def name(self) -> str:
        """The stem of this device's profile file."""
        words = f"{self.cpu} {self.runtime} {self.runtime_version} {self.threads}t {self.dtype}"
        return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")

    def __str__(self) -> str:
        return f"{self.cpu}, {self.runtime} {self.runtime_version}, {self.threads} thread(s), {self.dtype}"


@strict
@dataclass(frozen=True)
class MeasuredNetwork:
    """One timed network, at its genotype's input.

    `ms` is the robust estimate that predictors are fitted to; p50_ms and p90_ms are wall clock.

    `kernels` are its kernels summed by class (evaluators.latency.kernels.lowering), so that fitting needs no tracing. `raw`
    are its turns: median wall and CPU milliseconds of the runs, and milliseconds of the reference. `kernel_times` are its
    kernels as the runtime's profiler reports them, if it does: class, size, milliseconds.
    """

    genotype: str
    classes: Count
    split: Split
    ms: Milliseconds
    p50_ms: Milliseconds
    p90_ms: Milliseconds
    n: Count
    spread: FromZero
    kernels: Mapping[str, Annotated[tuple[Amount, ...], Field(min_length=len(FEATURES), max_length=len(FEATURES))]]
    raw: tuple[tuple[FromZero, FromZero, FromZero], ...] = ()
    kernel_times: tuple[Timed, ...] = ()


@strict
@dataclass(frozen=True)
class Calibration:
    """The measurements for one search space, and their conditions.

    space: its name at the time, for information only. inputs: the (channels, height, width) in the space, by size; networks
    are measured at all of them.
    noise: median over networks of the relative standard error of `ms`. contention: median slowdown of the reference network
    by other load. reference_ms: its quiet time. seconds: how long measuring took. lowering: the version of the lowering that
    summed the networks' kernels. clock: the clock of `ms` (timing/measure.py).
    """

    space: str
    inputs: Inputs
    seed: Seed
    created: Date
    seconds: FromZero
    lowering: Whole
    reference_ms: Milliseconds
    noise: FromZero
    contention: Annotated[float, Field(ge=-1, le=1000)]
    load: FromZero
    networks: Annotated[tuple[MeasuredNetwork, ...], Field(min_length=1)]
    clock: Clock = "cpu"

    def split(self, name: str) -> tuple[MeasuredNetwork, ...]:
        return tuple(n for n in self.networks if n.split == name)


@dataclass(frozen=True)
class Profile:
    """A device's calibrations by search space key (space_key); `machine` is for information only."""

    name: str
    device: Device
    created: str
    machine: Mapping[str, Any]
    spaces: Mapping[str, Calibration]

    def calibration(self, space: SearchSpace) -> Calibration:
        """The calibration for a space, whatever its name was then; raises InputError when there is none."""
        if (key := space_key(space)) in self.spaces:
            return self.spaces[key]
        names = [calibration.space for calibration in self.spaces.values()]
        other = "; a space of that name had other blocks or inputs" if space.name in names else ""
        known = ", ".join(sorted(names)) or "none"
        raise InputError(
            f'device {self.name} was not measured for space "{space.name}" (measured: {known}{other}); '
            f"run `nas device measure --space {space.name}{'' if self.device.dtype == 'float32' else ' --precision int8'}`"
        )


def profile_name(device: Device, name: str) -> str:
    """The name of the profile that `name` refers to: the device's own for "local"."""
    return device.name if name == LOCAL else name
