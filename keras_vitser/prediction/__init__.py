"""Many recordings to many answers: streams that hold a few clips at a time, and files that outlive a kill."""

from keras_vitser.prediction.answer_file import Written, job_of, write_answers
from keras_vitser.prediction.manifest import manifest_paths
from keras_vitser.prediction.ray_engine import ray_stream
from keras_vitser.prediction.row import Row
from keras_vitser.prediction.sources import files_of
from keras_vitser.prediction.stream import predict_stream

__all__ = ["Row", "Written", "files_of", "job_of", "manifest_paths", "predict_stream", "ray_stream", "write_answers"]
