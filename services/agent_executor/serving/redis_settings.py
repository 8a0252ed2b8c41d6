"""Which Redis a service uses, if any."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator


class RedisSettings(BaseModel):
    """What a service can be told that shares something with other processes of its kind."""

    redis_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="REDIS_URL",
        description=(
            "The Redis or Valkey, from 6.0 on, in which tool-runners count rate limits together and "
            "share results, and by which services tell each other what has changed, as "
            "redis://user:password@host:port/database, rediss:// for TLS, or unix:///path. "
            "Empty: each process for itself."
        ),
    )
    redis_timeout_seconds: float = Field(
        default=0.25,
        gt=0,
        le=60,
        validation_alias="REDIS_TIMEOUT_SECONDS",
        description=(
            "How long Redis may take to answer until it is taken for away, in seconds; no call waits "
            "for it more than twice as long."
        ),
    )

    @field_validator("redis_url")
    @classmethod
    def _names_a_redis(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("it must begin with redis://, rediss:// or unix://")
        try:
            _ = urlsplit(url).port
        except ValueError:
            # Its own text may show a part of the password.
            raise ValueError("its port is no number; a password's / and @ are escaped") from None
        return value
