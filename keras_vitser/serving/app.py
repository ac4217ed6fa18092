"""A page in the browser to try a model: record or drop a sound, and see what is heard (the extra `app`)."""

import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vitser.errors import AudioError, PredictionError, ServingError
from keras_vitser.recognizer import Recognizer
from keras_vitser.serving.listening import Heard, heard_figure, heard_sentence, listen

if TYPE_CHECKING:
    import gradio

_LARGEST_FILE = "50mb"
_ABOUT = (
    "# What emotion is heard?\n\nDrop a sound file, or record a few seconds. Emotions of the training recordings are "
    "acted, by few speakers, in one language: do not use this to judge a person."
)

log = logging.getLogger(__name__)


def create_page(recognizer: Recognizer) -> "gradio.Blocks":
    """The page, for `launch` or to mount in an application of one's own.

    Args:
        recognizer: The model.

    Raises:
        ServingError: Gradio is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # nobody's voice shall phone home
    try:
        import gradio
    except ImportError:
        raise ServingError("the page needs Gradio: pip install 'keras-vitser[app]'") from None

    def hear(file: str | None) -> tuple[dict[str, float] | None, str, Any]:
        if file is None:
            return None, "", None
        try:
            heard = listen(recognizer, file)
        except (AudioError, PredictionError) as error:
            raise gradio.Error(str(error).replace(file, os.path.basename(file)), print_exception=False) from None
        answer = heard.answer
        probabilities = dict(zip(answer.labels, map(float, answer.probabilities), strict=True))
        return probabilities, heard_sentence(heard), _pixels(heard)

    with gradio.Blocks(title="keras_vitser", analytics_enabled=False) as page:
        gradio.Markdown(_ABOUT)
        with gradio.Row():
            sound = gradio.Audio(sources=["upload", "microphone"], type="filepath", label="Recording", buttons=[])
            label = gradio.Label(label="Emotion")
        words = gradio.Markdown()
        gradio.Markdown("When it listened, and how the answer moves:")
        picture = gradio.Image(show_label=False, interactive=False, buttons=["download", "fullscreen"])
        sound.change(hear, sound, [label, words, picture])
    return page


def launch(recognizer: Recognizer, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Shows the page until Ctrl-C.

    Args:
        recognizer: The model.
        host: Address to listen at.
        port: Port to listen at.

    Raises:
        ServingError: Gradio is not installed, or the port is taken.
    """
    page = create_page(recognizer)
    import gradio

    # Fonts of the machine, so that the page asks no other server for any.
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    options = {"share": False, "quiet": True, "ssr_mode": False, "theme": theme, "max_file_size": _LARGEST_FILE}
    options |= {"footer_links": [], "run_history": False}
    try:
        page.launch(server_name=host, server_port=port, prevent_thread_lock=True, **options)
    except OSError:  # Gradio's words name options of its own
        raise ServingError(f"{host}:{port}: cannot be listened at, it may be taken; choose another --port") from None
    log.info("the page is at http://%s:%d; Ctrl-C ends it", host, port)
    page.block_thread()


def _pixels(heard: Heard) -> np.ndarray:
    figure = heard_figure(heard)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # type: ignore[attr-defined]  # Agg's canvas has it
