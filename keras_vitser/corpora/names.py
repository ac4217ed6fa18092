"""The names of corpora and protocols, for what needs no more of them; nothing is imported here.

Each corpus is read by the file of its name in this folder (`registry`); each protocol is a function of `protocols`.
"""

CORPORA = ("savee", "emodb", "crema_d", "ravdess", "manifest", "folder", "demo")
PROTOCOLS = ("paper", "random", "speaker_independent", "leave_one_speaker_out")
