"""The endpoint captioner against a real HTTP server in a thread."""

import base64
import json
import logging
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from h2d.annotate.base import CaptionRequest
from h2d.annotate.captions.endpoint import EndpointCaptioner
from h2d.config import validate_config
from h2d.errors import JobError, UserError
from h2d.images import decode_rgb


def completion(text, finish_reason="stop"):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return 200, {}, json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


@contextmanager
def serving(answer):
    """An address answered by `answer(number, headers, body)` -> (status, headers, bytes), and the requests it saw."""
    seen, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                seen.append((self.path, dict(self.headers), body))
                number = len(seen)
            status, headers, data = answer(number, self.headers, body)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client gave up waiting

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def request(brightness=0):
    picture = np.full((16, 24, 3), brightness, np.uint8)
    return CaptionRequest(picture=picture, source="hagrid", gesture="rock", hands=("left",))


def captioner(url, **options):
    return EndpointCaptioner(url=url, model="tiny", **{"retry_wait_s": 0.01, "timeout_s": 5.0, **options})


def sent_picture(body):
    (picture, text) = body["messages"][0]["content"]
    assert text["type"] == "text"
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/jpeg;base64"
    return decode_rgb(base64.b64decode(data))


def test_it_sends_the_picture_and_the_prompt_and_returns_the_answer():
    with serving(lambda *_: completion("  A person\nwaves. ")) as (url, seen):
        assert captioner(url, prompt="What?").caption([request(90)]) == ["A person waves."]
    (path, _, body), *others = seen
    assert not others
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0, 77)
    assert body["messages"][0]["content"][1]["text"] == "What?"
    assert sent_picture(body).shape == (16, 24, 3)


def test_parallel_answers_keep_the_order_of_the_requests():
    arrived = threading.Barrier(4, timeout=10)  # passes only when four requests are under way at once

    def answer(_, __, body):
        brightness = int(np.median(sent_picture(body)))
        arrived.wait()
        time.sleep(0.05 * (brightness < 100))
        return completion(f"level {round(brightness / 20)}")

    with serving(answer) as (url, _):
        captions = captioner(url, max_parallel=4).caption([request(20 * level) for level in range(8)])
    assert captions == [f"level {level}" for level in range(8)]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_it_tries_again_when_the_server_is_busy_or_failing(status):
    with serving(lambda number, *_: (status, {}, b"busy") if number < 3 else completion("Fine.")) as (url, seen):
        assert captioner(url).caption([request()]) == ["Fine."]
    assert len(seen) == 3


def test_it_waits_as_long_as_the_server_asks():
    with serving(lambda number, *_: (429, {"Retry-After": "0.3"}, b"") if number == 1 else completion("Fine.")) as (
        url,
        _,
    ):
        start = time.monotonic()
        assert captioner(url, retry_wait_s=0.001).caption([request()]) == ["Fine."]
    assert 0.3 <= time.monotonic() - start < 3


def test_after_all_retries_the_job_stops_with_the_reason():
    busy = serving(lambda *_: (503, {}, b'{"error": {"message": "overloaded"}}'))
    with busy as (url, seen), pytest.raises(JobError, match=r"answers 503: overloaded \(tried 3 times\)"):
        captioner(url, num_retries=2).caption([request()])
    assert len(seen) == 3


def test_a_silent_server_times_out_and_is_asked_again():
    def answer(number, *_):
        time.sleep(0.6 if number == 1 else 0)
        return completion("Late.")

    with serving(answer) as (url, seen):
        assert captioner(url, timeout_s=0.2).caption([request()]) == ["Late."]
    assert len(seen) == 2


def test_no_server_at_all():
    with serving(lambda *_: completion("")) as (url, _):
        pass
    with pytest.raises(JobError, match=r"cannot be reached: .*refused.* \(tried 2 times\)"):
        captioner(url, num_retries=1).caption([request()])


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            404,
            b'{"error": {"message": "The model `tiny`\\n does not exist."}}',
            "answers 404: The model `tiny` does not",
        ),
        (401, b'{"error": "no key"}', "answers 401: no key"),
        (400, b"<html>\nno</html>", "answers 400: <html> no</html>"),
        (302, b"", "answers 302"),
    ],
)
def test_a_refusal_is_the_users_to_mend_and_is_not_tried_again(status, body, words):
    headers = {"Location": "http://127.0.0.1:9/"} if status == 302 else {}
    refuse = serving(lambda *_: (status, headers, body))
    with refuse as (url, seen), pytest.raises(UserError, match="model 'tiny'") as caught:
        captioner(url).caption([request()])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(seen) == 1


@pytest.mark.parametrize("body", [b"{not json", b"{}", b'{"choices": []}', b"[]", b"\xff\xfe"])
def test_an_answer_that_is_no_completion_names_the_address(body):
    odd = serving(lambda *_: (200, {}, body))
    with odd as (url, _), pytest.raises(UserError, match="the answer is not a chat completion") as caught:
        captioner(url).caption([request()])
    assert url in str(caught.value)


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_an_empty_caption_is_an_error_of_that_picture(text):
    mute = serving(lambda *_: completion(text, "content_filter"))
    with mute as (url, _), pytest.raises(ValueError, match=r"answered nothing.*content_filter"):
        captioner(url).caption([request()])


def test_the_key_is_sent_but_kept_shown_and_logged_nowhere(monkeypatch, caplog):
    monkeypatch.setenv("H2D_TEST_KEY", "sk-secret-123")
    caplog.set_level(logging.DEBUG)
    options = {"api_key_env": "H2D_TEST_KEY", "num_retries": 1}

    def answer(number, *_):
        return (500 if number == 1 else 401, {}, b"bad key sk-secret-123")

    with serving(answer) as (url, seen):
        asking = captioner(url, **options)
        with pytest.raises(UserError, match=r"bad key \*\*\*") as caught:
            asking.caption([request()])
    assert seen[0][1]["Authorization"] == "Bearer sk-secret-123"
    assert caplog.records
    for text in (str(caught.value), caplog.text, repr(asking), json.dumps(asking.identity())):
        assert "secret" not in text


def test_no_key_is_sent_when_the_variable_is_not_set(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(lambda *_: completion("Fine.")) as (url, seen):
        captioner(url).caption([request()])
    assert "Authorization" not in seen[0][1]


def test_identity_is_the_question_not_the_address():
    first = EndpointCaptioner(url="http://a/v1", model="tiny")
    assert first.identity() == EndpointCaptioner(url="http://b/v1", model="tiny", max_parallel=1).identity()
    assert first.identity() != EndpointCaptioner(url="http://a/v1", model="tiny", prompt="Else?").identity()
    assert first.identity() != EndpointCaptioner(url="http://a/v1", model="other").identity()


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "http://me:key@host/v1", "http://host/v1?key=1"])
def test_a_wrong_address_is_refused_at_once(url):
    with pytest.raises(UserError, match="url must"):
        validate_config(EndpointCaptioner, {"url": url}, where="options")
