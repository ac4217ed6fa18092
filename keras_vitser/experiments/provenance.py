"""What a network has heard, carried from run to run, so that no score is taken on what was trained on."""

import keras

from keras_vitser.audio.file_names import composed
from keras_vitser.corpora import Example, Split
from keras_vitser.errors import ConfigError, LeakageError
from keras_vitser.recognizer import Provenance, Recognizer


def of_split(split: Split, ancestors: list[Recognizer]) -> Provenance:
    """What a network trained on this split, starting from `ancestors`, has learned or been chosen from."""
    heard = [example.clip for example in (*split.train, *split.validation)]
    clips = {clip.content_hash for clip in heard}
    speakers = {_speaker(split, clip.speaker) for clip in heard if clip.speaker is not None}
    for ancestor in ancestors:
        clips |= ancestor.provenance.clips
        speakers |= ancestor.provenance.speakers
    leaky = split.leaky or any(ancestor.provenance.leaky for ancestor in ancestors)
    return Provenance(split.protocol, leaky, frozenset(clips), frozenset(speakers))


def refuse_leaks(heard: Provenance, split: Split, name: str) -> None:
    """Refuses a network that knows this split's test clips, or its test speakers where the protocol keeps them apart.

    Under the protocol `paper`, which leaks by design, nothing is refused.

    Raises:
        LeakageError: It does; the message says how many, and which speakers.
    """
    if split.leaky:
        return
    clips = sum(example.clip.content_hash in heard.clips for example in split.test)
    if clips:
        raise LeakageError(
            f"{name} was trained on {clips} of the {len(split.test)} test clips of this split; "
            "take a network that was trained under the same split, or choose another fold"
        )
    known = {composed(speaker) for speaker in heard.speakers}  # older versions kept the form of the table
    speakers = set() if split.speakers_shared else known & _test_speakers(split.test, split)
    if speakers:
        raise LeakageError(
            f"{name} was trained on the test speakers {', '.join(sorted(speakers))}; take a network that was "
            "trained under the same split, or choose another fold"
        )


def take_weights(network: keras.Model, labels: tuple[str, ...], source: Recognizer) -> None:
    """Copies a trained student's weights layer by layer; the head stays new where the labels differ.

    Raises:
        ConfigError: The two networks are not of one shape.
    """
    given = {layer.name: layer.get_weights() for layer in source.network.layers}
    own = {layer.name: layer.get_weights() for layer in network.layers}
    if tuple(labels) != tuple(source.labels):
        del given["head"], own["head"]
    for name in sorted(given.keys() | own.keys()):
        shapes = [[weight.shape for weight in weights.get(name, [])] for weights in (given, own)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"stages.student.initial_weights: layer {name!r} of the given network has another shape; "
                "give the `student` section the values that it was trained with"
            )
    for name in own:
        network.get_layer(name).set_weights(given.get(name, []))


def _test_speakers(examples: tuple[Example, ...], split: Split) -> set[str]:
    return {_speaker(split, example.clip.speaker) for example in examples}


def _speaker(split: Split, speaker: str | None) -> str:
    return f"{split.corpus.name}/{speaker}"
