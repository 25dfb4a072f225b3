"""The operator's settings: flags of the command line, else environment variables, else defaults."""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from space_core.errors import SpaceError
from space_core.web.jobs import TimeLimit
from space_core.web.visitor_limits import networks_of

PREFIX = "SPACE_"
BAD_VALUE = 2  # exit code, the same as for a wrong argument

# Gradio's own variables, which hosts set; ours win over them.
GRADIO_VARIABLES = {"host": "GRADIO_SERVER_NAME", "port": "GRADIO_SERVER_PORT", "root_path": "GRADIO_ROOT_PATH"}


def on_a_space() -> bool:
    """Whether this runs on Hugging Face Spaces."""
    return bool(os.environ.get("SPACE_ID"))


def on_zero_gpu() -> bool:
    """Whether this runs on a Space that lends its GPU for the time of a job."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))


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
    backend: Literal["local", "ray"] = _setting(
        "backend", "local", "what makes the videos: this process, or replicas under Ray Serve"
    )
    address: str = _setting("address", "auto", "of the Ray cluster; local starts one on this machine")
    replicas: int = _setting("replicas", 2, "most replicas, and with them videos at the same time", ge=1, le=1000)
    least_replicas: int = _setting("least_replicas", 1, "replicas that are always ready", ge=1, le=1000)
    replica_cpus: float = _setting("replica_cpus", 1, "processors of each replica", ge=0.1, le=1024)
    replica_gpus: float = _setting("replica_gpus", 0, "GPUs of each replica, or a fraction", ge=0, le=64)
    live_seconds: float = _setting(
        "live_seconds",
        300,
        "longest live session (/live), seconds; 0 offers none",
        ge=0,
        le=86_400,
        allow_inf_nan=False,
    )
    kept_minutes: int = _setting("kept_minutes", 60, "a visitor's files are removed after that", ge=15, le=10_080)
    job_seconds: float = _setting("job_seconds", 120, "time limit of a job but for its speech, s", gt=0, le=86_400)
    job_seconds_per_second: float = _setting(
        "job_seconds_per_second", 20, "what each second of speech adds to the time limit, seconds", ge=0, le=3600
    )
    grace_seconds: float = _setting(
        "grace_seconds", 30, "time that running jobs have to finish when the demo is to end, seconds", ge=0, le=86_400
    )
    visitor_places: int = _setting("visitor_places", 5, "places in each queue for one visitor", ge=1, le=1000)
    visitor_requests: float = _setting(
        "visitor_requests",
        20,
        "requests of one visitor a second, on average; 200 times as many at once",
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
    )
    visitor_jobs: float = _setting(
        "visitor_jobs",
        30,
        "videos, previews and texts of one visitor a minute, on average; as many at once",
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
    )
    visitor_uploads: int = _setting(
        "visitor_uploads", 1000, "uploads of one visitor within --kept-minutes", ge=1, le=1_000_000
    )
    visitor_mb: int = _setting(
        "visitor_mb", 2000, "megabytes that one visitor may upload within --kept-minutes", ge=1, le=1_000_000
    )
    trusted_proxies: str = _setting(
        "trusted_proxies",
        "127.0.0.1,::1",
        "addresses and networks of proxies whose X-Forwarded-For gives visitors' addresses, with commas between them",
    )
    portraits_mb: int = _setting("portraits_mb", 200, "memory for prepared portraits, megabytes", ge=1, le=1_000_000)
    monitoring_port: int | None = _setting(
        "monitoring_port",
        None,
        "port of /healthz and /metrics, if not the page's",
        ge=1,
        le=65535,
    )
    monitoring_host: str | None = _setting("monitoring_host", None, "its address; by default that of --host")
    monitoring_token: SecretStr | None = _setting(
        "monitoring_token", None, "/healthz and /metrics ask for it: Authorization: Bearer TOKEN"
    )
    allow_embedding: Annotated[tuple[str, ...], NoDecode] = _setting(
        "allow_embedding", (), "origins whose pages may frame this one and use its API, such as https://example.org"
    )
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
    def num_slots(self) -> int:
        """How many videos are made at the same time."""
        return self.replicas if self.backend == "ray" else self.concurrency

    @property
    def max_sessions(self) -> int:
        """How many live sessions there are at the same time: one of a machine, which draws in real time."""
        return self.replicas if self.backend == "ray" else 1

    @property
    def offers_live(self) -> bool:
        """Whether there are live sessions: not where the pipeline computes within jobs alone."""
        return self.live_seconds > 0 and not on_zero_gpu()

    def check_detector(self, detector: object) -> None:
        """Raises ``SpaceError`` for a detector that is not offered to visitors."""
        if detector == "face-alignment" and not self.face_alignment:
            raise SpaceError(
                "The detector face-alignment is not offered here: it downloads its weights. Use mediapipe."
            )

    @property
    def time_limit(self) -> TimeLimit:
        """The time limit of jobs."""
        return TimeLimit(self.job_seconds, self.job_seconds_per_second)

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

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, proxies: str) -> str:
        networks_of(proxies)
        return proxies

    @field_validator("allow_embedding", mode="before")
    @classmethod
    def _split_origins(cls, origins: Any) -> Any:
        """A flag may be repeated; a variable, and each flag, may hold several with spaces or commas between them."""
        given = [origins] if isinstance(origins, str) else list(origins)
        return tuple(origin for text in given for origin in re.split(r"[\s,]+", text) if origin)

    @field_validator("allow_embedding")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?", origin):
                raise ValueError(f"{origin} is no origin such as https://example.org, in lower case and without a path")
        return origins

    @field_validator("least_replicas")
    @classmethod
    def _check_replicas(cls, least: int, others: ValidationInfo) -> int:
        if least > others.data.get("replicas", least):
            raise ValueError("it should not be more than --replicas")
        return least

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
            gradio.setdefault("trusted_proxies", "10.0.0.0/8")  # where the Space's proxies are
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
