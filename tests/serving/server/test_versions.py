"""Which version is served while folders come, go and are broken; the loader is the test's own."""

import asyncio

import pytest

from keras_vitser.errors import ModelFolderError
from keras_vitser.serving.server import versions as module
from keras_vitser.serving.server.status import StatusError
from keras_vitser.serving.server.versions import Versions

pytestmark = pytest.mark.backends("tensorflow")


class Loader:
    """Loads the text of a version's file; "broken" cannot be loaded."""

    def __init__(self):
        self.loaded = []

    def __call__(self, folder):
        text = (folder / "model").read_text()
        self.loaded.append(int(folder.name))
        if text == "broken":
            raise StatusError("DATA_LOSS", "the file is damaged")
        return text


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, 1, "one")
    return tmp_path


def write(folder, number, text):
    (folder / str(number)).mkdir(exist_ok=True)
    (folder / str(number) / "model").write_text(text)


def versions_of(folder, load=None, **options):
    versions = Versions(folder, "m", load or Loader(), **options)
    refresh(versions)
    return versions


def refresh(versions):
    asyncio.run(versions.refresh())


def states(versions):
    return {int(item["version"]): item["state"] for item in versions.status()["model_version_status"]}


def test_the_newest_is_served_by_number_not_by_name(folder):
    write(folder, 9, "nine")
    write(folder, 10, "ten")
    (folder / "notes").mkdir()
    (folder / "11").write_text("a file")
    versions = versions_of(folder)
    assert versions.find().model == "ten"
    assert states(versions) == {10: "AVAILABLE"}
    assert versions.status(10) == {
        "model_version_status": [
            {"version": "10", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


def test_a_new_version_replaces_the_old_one_once_it_is_loaded(folder):
    seen = []

    class Watching(Loader):
        def __call__(self, path):
            if path.name == "2":
                seen.append((states(versions), versions.find().model))
            return super().__call__(path)

    versions = versions_of(folder, Watching())
    write(folder, 2, "two")
    refresh(versions)
    assert seen == [({1: "AVAILABLE", 2: "LOADING"}, "one")]
    assert versions.find().model == "two"
    assert states(versions) == {1: "END", 2: "AVAILABLE"}
    refresh(versions)
    assert len(seen) == 1


def test_a_broken_version_never_replaces_a_good_one(folder):
    versions = versions_of(folder, loader := Loader())
    write(folder, 2, "broken")
    for _ in range(3):
        refresh(versions)
    assert versions.find().model == "one"
    assert states(versions) == {1: "AVAILABLE", 2: "END"}
    assert versions.status(2)["model_version_status"][0]["status"] == {
        "error_code": "DATA_LOSS",
        "error_message": "the file is damaged",
    }
    assert loader.loaded == [1, 2]  # and is not tried again as it is
    write(folder, 2, "two, copied to its end")
    refresh(versions)
    assert versions.find().model == "two, copied to its end"


def test_a_start_beside_a_broken_version_serves_the_older_one(folder):
    write(folder, 2, "broken")
    assert versions_of(folder).find().model == "one"


def test_any_error_of_the_loader_is_a_status(folder):
    (folder / "2").mkdir()
    status = versions_of(folder).status(2)["model_version_status"][0]["status"]
    assert status["error_code"] == "INTERNAL"
    assert "FileNotFoundError" in status["error_message"]


def test_a_version_in_use_is_unloaded_when_it_no_longer_is(folder):
    versions = versions_of(folder)
    with versions.use() as version:
        write(folder, 2, "two")
        refresh(versions)
        assert (version.model, states(versions)[1]) == ("one", "UNLOADING")
        assert versions.find().model == "two"
    assert (version.model, states(versions)[1]) == (None, "END")


def test_a_folder_that_was_emptied_does_not_take_the_service_down(folder):
    versions = versions_of(folder)
    (folder / "1" / "model").unlink()
    (folder / "1").rmdir()
    refresh(versions)
    assert versions.find().model == "one"


def test_rolling_back_is_removing_the_newest_folder(folder):
    write(folder, 2, "two")
    versions = versions_of(folder)
    (folder / "2" / "model").unlink()
    (folder / "2").rmdir()
    refresh(versions)
    assert versions.find().model == "one"
    assert states(versions) == {1: "AVAILABLE", 2: "END"}


@pytest.mark.parametrize(("policy", "served"), [("latest", {3}), ("all", {1, 2, 3}), ((1, 2), {1, 2}), ((2, 7), {2})])
def test_the_policy_says_which_are_served(folder, policy, served):
    write(folder, 2, "two")
    write(folder, 3, "three")
    versions = versions_of(folder, policy=policy)
    assert {number for number, state in states(versions).items() if state == "AVAILABLE"} == served
    assert versions.find().number == max(served)


def test_labelled_versions_are_served_too(folder):
    write(folder, 2, "two")
    versions = versions_of(folder, labels={"stable": 1, "gone": 5})
    assert versions.find().number == 2
    assert versions.find(versions.number_of("stable")).model == "one"
    with pytest.raises(StatusError, match="Unrecognized servable version label: canary") as error:
        versions.number_of("canary")
    assert error.value.http_status == 400
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(m, 5\)") as error:
        versions.find(versions.number_of("gone"))
    assert error.value.http_status == 404


def test_what_is_not_there_is_not_found(folder):
    with pytest.raises(StatusError, match="Could not find version 4 of model m") as error:
        versions_of(folder).status(4)
    assert error.value.http_status == 404
    with pytest.raises(ModelFolderError, match="holds no version of a model"):
        Versions(folder / "nothing", "m", Loader())
    write(folder, 1, "broken")
    versions = versions_of(folder)
    with pytest.raises(StatusError, match=r"Servable not found for request: Latest\(m\)"):
        versions.find()
    with pytest.raises(ModelFolderError, match=r"no version can be served \(1: the file is damaged\)"):
        versions.check()


def test_the_folder_is_looked_at_again_and_again_whatever_becomes_of_it(folder, monkeypatch, caplog):
    versions = versions_of(folder)
    looks = []

    def look(path):
        looks.append(path)
        if len(looks) < 3:
            raise PermissionError("not now")
        return files(path)

    files = module._files
    monkeypatch.setattr(module, "_files", look)

    async def main():
        task = asyncio.create_task(versions.keep_refreshing(0.01))
        write(folder, 2, "two")
        while versions.find().number == 1:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert "cannot be looked at: PermissionError: not now" in caplog.text
