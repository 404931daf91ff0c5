"""AWS on loopback, as far as credentials come from it: instance metadata (IMDSv2), STS, SSO, a container's endpoint."""

from __future__ import annotations

import json
from collections import Counter, deque
from datetime import UTC, datetime, timedelta

from loopback_http import Answer, Asked, LoopbackHttp

METADATA = "/latest/meta-data/iam/security-credentials/"
TOKEN = "/latest/api/token"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION = "FwoGZXIvYXdzEBYaDH+session"
SSO_TOKEN = "an-sso-access-token"


class FakeAws(LoopbackHttp):
    """Each time it gives credentials they are others, with `lifetime` seconds to live. `faults` go first."""

    def __init__(self) -> None:
        super().__init__(self._right_answer)
        self.lifetime = 3600.0
        self.given: Counter[str] = Counter()
        self.faults: deque[Answer] = deque()

    def key(self, kind: str) -> str:
        """The access key that `kind` gave last."""
        return f"ASIA{kind}{self.given[kind]}"

    def _right_answer(self, asked: Asked) -> Answer:
        if self.faults:
            return self.faults.popleft()
        match asked.method, asked.path:
            case "PUT", "/latest/api/token":
                return Answer(body="a-metadata-token", content_type="text/plain")
            case "GET", path if path.startswith(METADATA):
                return self._metadata(asked)
            case "GET", "/container":
                return self._container(asked)
            case "GET", "/federation/credentials":
                return self._sso(asked)
            case "POST", "/":
                return self._sts(asked)
        return Answer(404, "no such thing")

    def _new(self, kind: str) -> tuple[str, datetime]:
        self.given[kind] += 1
        return self.key(kind), datetime.now(UTC) + timedelta(seconds=self.lifetime)

    def _metadata(self, asked: Asked) -> Answer:
        if asked.headers.get("x-aws-ec2-metadata-token") != "a-metadata-token":
            return Answer(401, "a token is needed")
        if asked.path == METADATA:
            return Answer(body="the-role", content_type="text/plain")
        key, end = self._new("INSTANCE")
        told = {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": _text(datetime.now(UTC))}
        return Answer(body=json.dumps(told | _keys(key) | {"Expiration": _text(end)}))

    def _container(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != "let-me-in":
            return Answer(403, json.dumps({"code": "AccessDenied", "message": "who are you"}))
        key, end = self._new("CONTAINER")
        return Answer(body=json.dumps(_keys(key) | {"Expiration": _text(end)}))

    def _sso(self, asked: Asked) -> Answer:
        if asked.headers.get("x-amz-sso_bearer_token") != SSO_TOKEN:
            return Answer(401, json.dumps({"message": "Session token not found or invalid"}))
        key, end = self._new("SSO")
        keys = {"accessKeyId": key, "secretAccessKey": SECRET, "sessionToken": SESSION}
        return Answer(
            body=json.dumps({"roleCredentials": keys | {"expiration": int(end.timestamp() * 1000)}})
        )

    def _sts(self, asked: Asked) -> Answer:
        action = asked.form["Action"]
        key, end = self._new("WEB" if action == "AssumeRoleWithWebIdentity" else "ROLE")
        arn = asked.form["RoleArn"]
        return Answer(
            body=f"""<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{SESSION}</SessionToken>
<Expiration>{_text(end)}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId><Arn>{arn}</Arn>
</AssumedRoleUser></{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>""",
            content_type="text/xml",
        )


def refusal(code: str, text: str, status: int = 403) -> Answer:
    """What STS answers to who may not."""
    return Answer(
        status,
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
        "<RequestId>2</RequestId></ErrorResponse>",
        "text/xml",
    )


def _keys(key: str) -> dict[str, str]:
    return {"AccessKeyId": key, "SecretAccessKey": SECRET, "Token": SESSION}


def _text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
