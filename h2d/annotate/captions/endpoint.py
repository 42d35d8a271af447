"""Captions by a server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, or a paid one."""

import base64
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from h2d.annotate.base import CaptionRequest
from h2d.annotate.captions.llava import PROMPT
from h2d.config import config
from h2d.errors import JobError, UserError
from h2d.images import encode_jpeg

logger = logging.getLogger(__name__)

JPEG_QUALITY: Final = 90
LONGEST_WAIT_S: Final = 60.0
"""However long a server asks us to wait."""


@config
class EndpointCaptioner:
    """Sends each picture to a chat-completions address and takes the answer as its caption."""

    url: str = "http://localhost:8000/v1"
    """What comes before `/chat/completions`."""
    model: str = "llava-hf/llava-1.5-7b-hf"
    """The name under which the server knows the model."""
    prompt: str = PROMPT
    max_new_tokens: int = 77
    api_key_env: str | None = "OPENAI_API_KEY"
    """The environment variable with the key; when it is not set, none is sent. The key itself is kept nowhere."""
    timeout_s: float = 120.0
    num_retries: int = 5
    """After the first try, for a busy, failing or silent server."""
    retry_wait_s: float = 1.0
    """Before the first retry; doubles each time. A server's own Retry-After wins."""
    max_parallel: int = 8
    """Requests under way at once."""
    sees_pictures: ClassVar[bool] = True
    batch_size: int = 64

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"url must be like http://localhost:8000/v1, got {self.url!r}")
        if address.username or address.password or address.query:
            raise ValueError("url must hold no user, password or query: name the key's variable in api_key_env")
        if min(self.max_parallel, self.batch_size, self.max_new_tokens) < 1 or self.num_retries < 0:
            raise ValueError("max_parallel, batch_size and max_new_tokens must be at least 1, num_retries at least 0")

    def identity(self) -> Mapping[str, Any]:
        """What is asked of which model. Not the address: the same model says the same elsewhere."""
        return {
            "captioner": "endpoint",
            "model": self.model,
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
            "jpeg_quality": JPEG_QUALITY,
        }

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def caption(self, requests: Sequence[CaptionRequest]) -> list[str]:
        """One description per request, in order, `max_parallel` at a time.

        Raises `UserError` when the server refuses, `JobError` when it stays busy or out of reach after all retries,
        `ValueError` when it has nothing to say about a picture.
        """
        with ThreadPoolExecutor(self.max_parallel, thread_name_prefix="h2d-caption") as pool:
            answers = [pool.submit(self._ask, request) for request in requests]
            try:
                return [answer.result() for answer in answers]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, request: CaptionRequest) -> str:
        assert request.picture is not None, request.id
        picture = base64.b64encode(encode_jpeg(request.picture, quality=JPEG_QUALITY)).decode()
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
            {"type": "text", "text": self.prompt},
        ]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.max_new_tokens,
            "temperature": 0,
        }
        return self._read(self._post(json.dumps(body).encode()))

    def _post(self, body: bytes) -> bytes:
        """The server's answer to one request, tried again while that may help."""
        for attempt in range(self.num_retries + 1):
            try:
                with _OPENER.open(self._request(body), timeout=self.timeout_s) as response:
                    return bytes(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    problem = self._hidden(f"answers {error.code}: {_message(error)}")
                    wait_s = _asked_wait_s(error.headers.get("Retry-After"))
                if error.code not in (408, 429) and error.code < 500:
                    raise UserError(f"{self.url}, model {self.model!r}: {problem}") from None
            except (OSError, HTTPException) as error:
                reason = error.reason if isinstance(error, urllib.error.URLError) else error
                problem, wait_s = f"cannot be reached: {reason or type(error).__name__}", None
            if attempt < self.num_retries:
                wait_s = self.retry_wait_s * 2**attempt if wait_s is None else wait_s
                logger.warning("%s %s; next try in %.1f s", self.url, problem, min(wait_s, LONGEST_WAIT_S))
                time.sleep(min(wait_s, LONGEST_WAIT_S))
        raise JobError(f"{self.url} {problem} (tried {self.num_retries + 1} times)")

    def _request(self, body: bytes) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "User-Agent": "h2d"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)

    def _read(self, answer: bytes) -> str:
        try:
            choice = json.loads(answer)["choices"][0]
            text = choice["message"]["content"]
        except (ValueError, LookupError, TypeError):
            start = self._hidden(" ".join(answer[:120].decode(errors="replace").split()))
            raise UserError(f"{self.url}: the answer is not a chat completion: {start!r}") from None
        caption = " ".join(text.split()) if isinstance(text, str) else ""
        if not caption:
            raise ValueError(f"{self.model} answered nothing (finish reason: {choice.get('finish_reason')})")
        return caption

    def _key(self) -> str | None:
        return os.environ.get(self.api_key_env) if self.api_key_env else None

    def _hidden(self, text: str) -> str:
        """The text without the key, which some servers repeat in their answer."""
        key = self._key()
        return text.replace(key, "***") if key else text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses to be sent elsewhere: the key would travel along."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _message(error: urllib.error.HTTPError) -> str:
    """The server's own words, in one line of at most 200 characters."""
    text = error.read().decode(errors="replace")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = text
    if isinstance(answer, dict):
        answer = answer.get("error", answer)
    if isinstance(answer, dict):
        answer = answer.get("message", answer)
    return " ".join(str(answer).split())[:200] or str(error.reason)


def _asked_wait_s(retry_after: str | None) -> float | None:
    """The Retry-After header, seconds or a date, as seconds from now; None when absent or unreadable."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
