"""`keras-vitser corpora`."""

from pathlib import Path

import typer

from keras_vitser.cli.console import out, show_log
from keras_vitser.cli.overrides import LABELS_AS_WRITTEN
from keras_vitser.corpora.names import CORPORA
from keras_vitser.errors import CorpusError
from keras_vitser.files import strict_json


def corpora(
    name: str = typer.Argument(None, help=f"A corpus: {', '.join(CORPORA)}."),
    data: Path = typer.Option(None, help="Where it lies."),
    labels_as_written: bool = LABELS_AS_WRITTEN,
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List the corpora that can be read, or say what one on disk holds.

    Examples: keras-vitser corpora --- keras-vitser corpora savee --data PATH/TO/savee
    """
    show_log()
    from keras_vitser import corpora as room
    from keras_vitser.audio.decoding import tell_of_sound_behind

    if name is None:
        if data is not None:
            raise CorpusError(f"say which corpus {data} is: keras-vitser corpora NAME --data {data}")
        _list(room.DESCRIPTIONS, as_json)
        return
    corpus = room.load(name, data, labels_as_written=labels_as_written)
    for clip in corpus.clips:
        tell_of_sound_behind(clip.path)
    counts = corpus.counts()
    if as_json:
        answer = {"name": corpus.name, "clips": len(corpus), "terms": corpus.terms, "counts": counts}
        print(strict_json(answer, ensure_ascii=False))
        return
    out.print(f"{corpus.name}: {len(corpus)} clips. Terms: {corpus.terms}", markup=False)
    _table(counts)


def _list(descriptions: dict[str, str], as_json: bool) -> None:
    if as_json:
        print(strict_json(descriptions, ensure_ascii=False))
        return
    for name, description in descriptions.items():
        out.print(f"{name}: {description}", markup=False)


def _table(counts: dict[str, dict[str | None, int]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("class", "clips", "speakers", "clips a speaker", box=None, pad_edge=False)
    for label, by_speaker in counts.items():
        named = [count for speaker, count in by_speaker.items() if speaker is not None and count]
        span = f"{min(named)} to {max(named)}" if named else "not named"
        table.add_row(Text(label), str(sum(by_speaker.values())), str(len(named)), span)
    out.print(table)
