"""One experiment, one file: the frozen configuration of a run, read from TOML and validated first of all."""

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ModelKind = Literal["majority", "language_only", "source_only", "cue_words", "tfidf", "frozen_encoder", "encoder"]


class ConfigError(ValueError):
    """A configuration that cannot be read or does not hold; the message names the field and what was expected."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """Which statements are learned from, how long they may be, and how much some of them weigh in the loss.

    ``annotations_share`` of the annotations is learned. ``own_weight`` is that of the project's own statements beside
    gold, ``toss_up_weight`` that of unsure labels. ``feedback_path`` names a file of ``credence feedback export``; its
    labels weigh ``feedback_weight``, for they were given by whoever looked at a score and not by the codebook.
    ``language_balance`` weighs outcomes so that the language says less about them: at 1 nothing, at 0 what the
    statements make it say. On a ``perturbed_share`` of the texts one of ``training.perturbations`` is tried; the normal
    form undoes some of them.
    """

    origins: tuple[Literal["gold", "annotations", "statements"], ...] = ("gold", "annotations", "statements")
    max_length_tokens: int = Field(default=128, ge=8, le=512)
    annotations_share: float = Field(default=1.0, ge=0, le=1)
    max_train_statements: int | None = Field(default=None, ge=20)
    toss_up_weight: float = Field(default=1.0, gt=0, le=1)
    own_weight: float = Field(default=1.0, gt=0, le=1)
    feedback_path: Path | None = None
    feedback_weight: float = Field(default=0.5, gt=0, le=1)
    language_balance: float = Field(default=0.0, ge=0, le=1)
    perturbed_share: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _annotations_stand_beside_gold(self) -> Self:
        """Gold holds what annotations are chosen by, and without a pack neither can be read."""
        if "annotations" in self.origins and "gold" not in self.origins:
            raise ValueError("origins: annotations are learned beside gold; name gold too")
        return self


class EncoderConfig(_Section):
    """The pretrained encoder: ``packaged``, a folder or a hub name.

    ``start_from`` is the folder of a finished bundle of the same encoder, whose weights the run goes on from, head too.
    """

    name: str = "packaged"
    trim: bool = True
    text_prefix: str = "query: "
    start_from: Path | None = None


class OptimiserConfig(_Section):
    """How the weights are learned.

    ``lora_rank`` 0 means full fine-tuning. The final weights are the mean over the last ``average_epochs`` epochs of
    ``average_seeds`` runs that start from the same weights and see the statements in different orders;
    ``average_start`` is the share of the starting weights in it, for a run that goes on from a bundle.
    """

    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    head_learning_rate: float = Field(default=1e-3, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    train_embeddings: bool = False
    lora_rank: int = Field(default=0, ge=0)
    average_seeds: int = Field(default=1, ge=1)
    average_epochs: int = Field(default=1, ge=1)
    average_start: float = Field(default=0.0, ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class CalibrationConfig(_Section):
    """The stated coverage of the prediction sets, and the confidence below which no label is given."""

    coverage: float = Field(default=0.9, gt=0.5, lt=1)
    ambiguous_below: float = Field(default=0.5, ge=0, lt=1)


class BundleConfig(_Section):
    """The version that the bundle carries and the longest statement that the service reads."""

    model_version: str = "0.1.0"
    max_length_tokens: int = Field(default=256, ge=8, le=512)


class ExperimentConfig(_Section):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    seed: int = 13
    model: ModelKind = "encoder"
    data: DataConfig = DataConfig()
    encoder: EncoderConfig = EncoderConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    bundle: BundleConfig = BundleConfig()

    @model_validator(mode="after")
    def _start_stands_where_it_is_used(self) -> Self:
        """Refuse settings of a start where there is none: its weights mean something only for the same outcomes."""
        if self.optimiser.average_start and self.encoder.start_from is None:
            raise ValueError("optimiser.average_start: nothing to average with; set encoder.start_from too")
        if self.encoder.start_from is not None and self.model != "encoder":
            raise ValueError(f"encoder.start_from: a {self.model} starts from no bundle; leave it out")
        return self

    @classmethod
    def from_toml(cls, path: Path, overrides: list[str] | None = None) -> Self:
        """Read a file and apply overrides such as ``optimiser.epochs=1``; raises ``ConfigError``."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(f"no config at {path}; the recipes are experiments/<name>/config.toml") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
        for override in overrides or []:
            _apply(content, override)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            unknown = "no such field; training/config.py lists them"
            faults = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {unknown if e['type'] == 'extra_forbidden' else e['msg']}"
                for e in error.errors()
            )
            changed = "".join(f" with --set {override}" for override in overrides or [])
            raise ConfigError(f"{path}{changed}: {faults}") from error


def _apply(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator:
        raise ConfigError(f"found --set {override!r}; expected key=value, such as optimiser.epochs=1")
    *sections, field = key.strip().split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {key}: {section} is not a section")
    try:
        content[field] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        content[field] = value
