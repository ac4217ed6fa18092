"""The page, in a browser without a window."""

import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import soundfile
from matplotlib import image

from keras_vitser.errors import ServingError
from keras_vitser.serving import app
from tests.audio.unheard_sounds import lsb_noise
from tests.requirements import lacking, require

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    """The page of a small model, in a process of its own."""
    require("app")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "keras_vitser.cli.main", "app", str(model), "--port", str(port)]
    log = tmp_path_factory.mktemp("app") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 120
        while "the page is at" not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def page(address):
    """The page in a browser, and all addresses that it asked."""
    if CHROMIUM is None:
        lacking("browser", "there is no Chromium on this machine")
    sync_playwright = require("browser", "playwright.sync_api").sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        opened = browser.new_page()
        asked = []
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(address, timeout=60_000)
        opened.wait_for_selector("input[type=file]", state="attached", timeout=60_000)
        yield opened
        browser.close()
    assert all(url.startswith((address, "blob:", "data:")) for url in asked), asked


def test_a_recording_is_heard_and_drawn(page, address, recognizer, recordings):
    file = next(iter(sorted((recordings / "original_samples").rglob("*.wav"))))
    page.set_input_files("input[type=file]", str(file))
    picture = page.wait_for_selector("img[src*='/file=']", timeout=60_000).get_attribute("src")
    expected = recognizer.predict(file)
    page.wait_for_selector(f"h2:has-text('{expected.label}')", timeout=60_000)
    shown = page.inner_text("body")
    for probability in expected.probabilities:
        assert f"{100 * probability:.0f}%" in shown
    with urllib.request.urlopen(picture) as response:
        pixels = image.imread(io.BytesIO(response.read()), format=picture.rpartition(".")[2])
    assert pixels.shape[0] > 300
    colours = np.unique(pixels[..., :3].reshape(-1, 3), axis=0)
    assert len(colours) > 200, "no spectrogram is drawn"


def test_of_silence_it_says_that_nothing_was_heard(page, tmp_path):
    soundfile.write(tmp_path / "silence.wav", lsb_noise(32000), 16000)
    page.set_input_files("input[type=file]", str(tmp_path / "silence.wav"))
    page.wait_for_selector("text=/Nothing was heard/", timeout=60_000)


def test_silence_is_put_into_words_beside_the_emotion(recognizer, tmp_path):
    """Without a browser: what the page's function gives for a file."""
    require("app")
    soundfile.write(tmp_path / "silence.wav", lsb_noise(32000), 16000)
    page = app.create_page(recognizer)
    (hear,) = [function.fn for function in page.fns.values() if len(function.outputs) == 3]
    probabilities, words, picture = hear(str(tmp_path / "silence.wav"))
    assert set(probabilities) == set(recognizer.labels)
    assert words.startswith("**Nothing was heard**")
    assert picture.ndim == 3
    assert hear(None) == (None, "", None)


def test_a_text_file_is_refused_in_words(page, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    page.set_input_files("input[type=file]", str(tmp_path / "text.wav"))
    page.wait_for_selector("text=/text.wav/", timeout=60_000)
    assert "Traceback" not in page.inner_text("body")


def test_gradio_is_named_where_it_is_missing(monkeypatch, recognizer):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ServingError, match=r"keras-vitser\[app\]"):
        app.create_page(recognizer)


def test_a_port_that_is_taken_is_one_line(recognizer):
    require("app")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServingError, match="choose another --port"):
        app.launch(recognizer, port=taken.getsockname()[1])
