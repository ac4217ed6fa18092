"""The names stand in one place, which the registry and the protocols follow, and whose import is quick."""

import subprocess
import sys

import pytest

from keras_vitser import corpora
from keras_vitser.corpora import names

pytestmark = pytest.mark.backends("tensorflow")


def test_each_name_has_what_it_names():
    assert corpora.NAMES == names.CORPORA == tuple(corpora.DESCRIPTIONS)
    assert tuple(corpora.protocols.PROTOCOLS) == names.PROTOCOLS
    assert all(function.__name__ == name for name, function in corpora.protocols.PROTOCOLS.items())


def test_public_names_are_those_that_are_listed():
    assert {name for name in corpora.__all__ if getattr(corpora, name, None) is not None} == set(corpora.__all__)
    with pytest.raises(AttributeError, match=r"'keras_vitser\.corpora' has no attribute 'nothing'"):
        corpora.nothing  # noqa: B018


def test_the_names_alone_import_no_array():
    code = "import sys, keras_vitser.corpora.names; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
