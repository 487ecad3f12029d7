"""What every table of the configuration file shares."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table: frozen, and nothing in it is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
