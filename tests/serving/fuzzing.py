"""Requests that are wrong in one of many ways, for a model with the signatures of an exported run."""

import base64
import gzip
import json
import string
import struct
import zlib

from keras_vitser.serving import Bounds
from tests.serving.small_model import tone, wav_file

WAV = wav_file(tone(seconds=0.01))
BOMB = gzip.compress(b" " * (Bounds().body_bytes + 1))


def malformed(random, model="vit_ser"):
    """Method, path, body and headers of a request that deserves a 4xx, whatever the random generator draws."""
    kind = random.choice(KINDS)
    request = kind(random, f"/v1/models/{model}")
    if len(request) == 4:
        return request
    method, path, body = request
    if random.random() < 0.1:  # well packed, and as wrong as before
        return method, path, gzip.compress(body), {"Content-Encoding": "gzip"}
    return method, path, body, {}


def _predict(path, document):
    return "POST", f"{path}:predict", document if isinstance(document, bytes) else json.dumps(document).encode()


def _cut_off(random, path):
    whole = json.dumps({"signature_name": "wav", "instances": [{"b64": _base64(WAV)}]}).encode()
    return _predict(path, whole[: random.randrange(len(whole))])


def _any_bytes(random, path):
    return _predict(path, random.randbytes(random.randrange(200)))


def _bytes_in_json(random, path):
    """A byte in a valid body is not UTF-8."""
    body = bytearray(json.dumps({"instances": [[0.1, 0.2]]}).encode())
    body[random.randrange(len(body))] = random.randrange(128, 256)
    return _predict(path, bytes(body))


def _no_document(random, path):
    return _predict(path, random.choice([None, True, 1, -2.5, "text", [], [{}], [[1]], {}, {"instance": [1]}]))


def _nested(random, path):
    depth = random.randrange(3, 5000)
    return _predict(path, b'{"instances": ' + b"[" * depth + b"1" + b"]" * depth + b"}")


def _wrong_leaf(random, path):
    samples = [random.uniform(-1, 1) for _ in range(random.randrange(1, 30))]
    wrong = random.choice([None, True, "0.5", {}, {"b64": "AAAA"}, {"a": 1}, [], [0.5], 10**400, 1e300])
    samples[random.randrange(len(samples))] = wrong
    if len(samples) == 1 and isinstance(wrong, list):
        samples.append(0.5)
    return _in_a_format(random, path, [samples])


def _not_finite(random, path):
    samples = [random.uniform(-1, 1) for _ in range(random.randrange(1, 30))]
    samples[random.randrange(len(samples))] = random.choice([float("nan"), float("inf"), float("-inf")])
    return _in_a_format(random, path, [samples])


def _ragged(random, path):
    lengths = random.sample(range(1, 40), random.randrange(2, 5))
    return _in_a_format(random, path, [[0.5] * length for length in lengths])


def _wrong_rank(random, path):
    return _in_a_format(random, path, random.choice([[0.5, 0.25], [[[0.5]]], [[[[1]]], [[[2]]]]]))


def _too_many_rows(random, path):
    return _in_a_format(random, path, [[0.5]] * random.randrange(33, 300))


def _in_a_format(random, path, rows):
    named = random.random() < 0.3
    if random.random() < 0.5:
        return _predict(path, {"inputs": {"waveform": rows} if named else rows})
    return _predict(path, {"instances": [{"waveform": row} for row in rows] if named else rows})


def _wrong_keys(random, path):
    return _predict(
        path,
        random.choice(
            [
                {"instances": []},
                {"instances": {"waveform": [[0.5]]}},
                {"instances": 0.5},
                {"instances": [[0.5]], "inputs": [[0.5]]},
                {"instances": [{"wave": [0.5]}]},
                {"instances": [{"waveform": [0.5], "rate": 16000}]},
                {"instances": [{"waveform": [0.5]}, [0.5]]},
                {"instances": [[0.5], {"waveform": [0.5]}]},
                {"inputs": {"wave": [[0.5]]}},
                {"inputs": None},
                {"signature_name": random.choice([1, None, ["wav"], {}]), "instances": [[0.5]]},
                {"signature_name": _word(random), "instances": [[0.5]]},
            ]
        ),
    )


def _wrong_base64(random, path):
    text = _base64(WAV)
    at = random.randrange(len(text))
    wrong = random.choice(
        [
            {"b64": text[:at] + random.choice("!§ä ?*") + text[at + 1 :]},
            {"b64": text.rstrip("=")[: 4 * (at // 4) + 1]},
            {"b64": random.choice([1, None, [text], {"b64": text}])},
            {"b64": text, "b32": text},
            {"B64": text},
            {},
            [text],
            random.randrange(100),
            None,
            text,  # the base64 itself is no sound
        ]
    )
    return _predict(path, {"signature_name": "wav", "instances": [wrong]})


def _wrong_wav(random, path):
    data = bytearray(WAV)
    at = random.choice([0, 4, 8, 12, 20, 22, 34, "cut", "any", "empty"])
    if at == "cut":
        data = data[: random.randrange(44)]
    elif at == "any":
        data = random.randbytes(random.randrange(300))
    elif at == "empty":
        data = b""
    elif at == 4:
        data = b"RIFF" + random.randbytes(4) + b"AVI " + data[12:]
    elif at in (20, 22, 34):  # format, channels and bits a sample that no file has
        struct.pack_into("<H", data, at, {20: 0x1234, 22: 0, 34: 17}[at])
    else:
        data[at : at + 4] = _word(random).encode()[:4].ljust(4, b"x")
    good = {"b64": _base64(WAV)}
    instances = [{"b64": _base64(bytes(data))}] + [good] * random.randrange(3)
    random.shuffle(instances)
    return _predict(path, {"signature_name": "wav", "instances": instances})


def _wrong_path(random, path):
    word = _word(random)
    method, ending = random.choice(
        [
            ("POST", ""),
            ("POST", f":{word}"),
            ("POST", f"/versions/{word}:predict"),
            ("POST", f"/versions/{random.randrange(2**63, 2**80)}:predict"),
            ("POST", f"/versions/{random.randrange(100, 2**63)}:predict"),
            ("POST", f"/labels/{word}:predict"),
            ("POST", f"{word}:predict"),
            ("POST", "/versions/1/labels/stable:predict"),
            ("GET", ":predict"),
            ("GET", f"/{word}"),
            ("GET", f"{word}/metadata"),
            ("PUT", ":predict"),
            ("DELETE", ""),
            ("PATCH", "/metadata"),
        ]
    )
    return method, path + ending, json.dumps({"instances": [[0.5]]}).encode()


def _wrong_encoding(random, path):
    """A good body, packed badly or in another way than its header says."""
    method, path, body = _predict(path, {"instances": [[0.5, 0.25]]})
    packed = gzip.compress(body)
    flipped = bytearray(packed)
    flipped[-random.randrange(1, 9)] ^= 1 << random.randrange(8)  # of checksum and length
    encoding, body = random.choice(
        [
            ("gzip", packed[: random.randrange(1, len(packed))]),
            ("gzip", bytes(flipped)),
            ("gzip", packed + random.randbytes(random.randrange(1, 30))),
            ("gzip", packed + packed),
            ("gzip", gzip.compress(packed)),
            ("gzip", body),
            ("gzip", zlib.compress(body)),
            ("gzip", random.randbytes(random.randrange(100))),
            ("gzip", BOMB),
            ("gzip", gzip.compress(b"") * random.randrange(1, 2000)),
            ("gzip, gzip", gzip.compress(packed)),
            (random.choice(["br", "deflate", "zstd", "compress", "*", "gzip;q=1", _word(random)]), body),
            ("", packed),
            ("identity", packed),
        ]
    )
    return method, path, body, {"Content-Encoding": encoding}


def _base64(data):
    return base64.b64encode(data).decode()


def _word(random):
    return "".join(random.choices(string.ascii_lowercase, k=random.randrange(4, 12))) + "_"


KINDS = [
    _cut_off,
    _any_bytes,
    _bytes_in_json,
    _no_document,
    _nested,
    _wrong_leaf,
    _not_finite,
    _ragged,
    _wrong_rank,
    _too_many_rows,
    _wrong_keys,
    _wrong_base64,
    _wrong_wav,
    _wrong_path,
    _wrong_encoding,
]
