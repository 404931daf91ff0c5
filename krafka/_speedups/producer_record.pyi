from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from krafka.records import BytesLike, Headers, Serializable

@dataclass(slots=True)
class ProducerRecord:
    topic: str
    value: Serializable = None
    _: KW_ONLY
    key: Serializable = None
    headers: Headers = ()
    partition: int | None = None
    timestamp: int | datetime | None = None

    def add_header(self, name: str, value: BytesLike | None) -> None: ...
