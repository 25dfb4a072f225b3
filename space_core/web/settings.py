"""The operator's settings: flags of the command line, else environment variables, else defaults."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

PREFIX = "SPACE_"
BAD_VALUE = 2  # exit code, the same as for a wrong argument

# Gradio's own variables, which hosts set; ours win over them.
GRADIO_VARIABLES = {"host": "GRADIO_SERVER_NAME", "port": "GRADIO_SERVER_PORT", "root_path": "GRADIO_ROOT_PATH"}


def on_a_space() -> bool:
    """Whether this runs on Hugging Face Spaces."""
    return bool(os.environ.get("SPACE_ID"))


def _variables(name: str) -> str:
    return ", ".join(filter(None, (PREFIX + name.upper(), GRADIO_VARIABLES.get(name))))


def _setting(name: str, default: Any, description: str, **limits: Any) -> Any:
    return Field(default, description=f"{description} [{_variables(name)}]", **limits)


class Settings(BaseSettings):
    """The SPACE demo. In brackets: the environment variable that does the same; a flag wins over it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        frozen=True,
    )

    host: str = _setting("host", "127.0.0.1", "address to listen on; on a Hugging Face Space all of them")
    port: int = _setting("port", 7860, "port to listen on", ge=1, le=65535)
    root_path: str = _setting("root_path", "", "path under which a proxy shows the page, or its whole address")
    queue_size: int = _setting("queue_size", 20, "visitors who may wait", ge=1, le=1000)
    concurrency: int = _setting("concurrency", 1, "videos made at the same time", ge=1, le=8)
    max_seconds: float = _setting("max_seconds", 120, "longest speech, seconds", ge=0.3, le=3600, allow_inf_nan=False)
    max_upload_mb: int = _setting("max_upload_mb", 100, "largest upload of a visitor, megabytes", ge=1, le=10_000)
    device: Literal["auto", "cpu", "cuda"] = _setting("device", "auto", "where to compute")
    kept_minutes: int = _setting("kept_minutes", 60, "a visitor's files are removed after that", ge=15, le=10_080)
    face_alignment: bool = _setting(
        "face_alignment", False, "offer the detector face-alignment, which downloads its weights on first use"
    )
    visible_mark: bool = _setting("visible_mark", True, "the mark in the picture is on at first")
    force_visible_mark: bool = _setting("force_visible_mark", False, "visitors can't switch the mark off")
    content_credentials: bool = _setting("content_credentials", True, "sign videos with Content Credentials (C2PA)")
    certificate_folder: Path | None = _setting("certificate_folder", None, "certificate and key to sign with")
    mcp: bool = _setting("mcp", False, "serve the page's functions to agents, too (Model Context Protocol)")
    log_level: Literal["debug", "info", "warning", "error"] = _setting("log_level", "info", "least level to log")

    @property
    def max_upload_bytes(self) -> int:
        """``max_upload_mb`` as Gradio counts: a megabyte is 1024 × 1024 bytes."""
        return self.max_upload_mb * 1024 * 1024

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, root_path: str) -> str:
        if root_path and not root_path.startswith(("/", "http://", "https://")):
            raise ValueError("it should begin with / or be a whole address")
        return root_path.rstrip("/")

    @field_validator("mcp")
    @classmethod
    def _check_mcp(cls, mcp: bool) -> bool:
        if mcp and importlib.util.find_spec("mcp") is None:
            raise ValueError('the package mcp is missing; pip install "mcp<2" installs it')
        return mcp

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, strongest first; flags come before all of these."""
        gradio = {name: os.environ[variable] for name, variable in GRADIO_VARIABLES.items() if os.environ.get(variable)}
        if on_a_space() and isinstance(env_settings, EnvSettingsSource):
            # There, SPACE_HOST is the Space's public name, which is no address to listen on.
            env_settings.env_vars = {
                name: value for name, value in env_settings.env_vars.items() if name != "space_host"
            }
            gradio.setdefault("host", "0.0.0.0")
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=gradio)

    @classmethod
    def from_command_line(cls, arguments: Sequence[str] | None = None) -> Self:
        """Settings from flags (default: the program's own), then variables, then defaults.

        A wrong value ends the program with one sentence on stderr and exit code 2; ``--help`` lists every setting.
        """
        try:
            source: dict[str, Any] = {"_cli_parse_args": list(sys.argv[1:] if arguments is None else arguments)}
            return cls(**source)
        except ValidationError as error:
            sentence = _sentence(error)
        except SettingsError as error:
            sentence = f"{error}."
        print(f"space: {sentence}", file=sys.stderr)
        raise SystemExit(BAD_VALUE)


def _sentence(error: ValidationError) -> str:
    """The first wrong value and why it is wrong, in one sentence."""
    wrong = error.errors()[0]
    name = str(wrong["loc"][0])
    reason = wrong["msg"].replace("Input should", "it should").removeprefix("Value error, ")
    return f"--{name.replace('_', '-')} [{_variables(name)}] can't be {wrong['input']}: {reason}."
