import pytest

from processors.bundle import read_bundle
from processors.problems import WorkflowError


def test_the_version_is_the_hash_of_what_changes_behaviour(files, folder):
    """Cases and the README make no new version; a prompt does."""
    path = folder(files)
    first = read_bundle(path)
    folder({"README.md": "words", "evals/cases.jsonl": "{}", ".DS_Store": ""})
    assert read_bundle(path).version == first.version
    folder({"prompts/small/user.md": "Other: {{ input.text }}"})
    assert read_bundle(path).version != first.version


def test_line_ends_make_no_new_version(files, folder, tmp_path):
    """A checkout with CRLF is the same version."""
    path = folder(files)
    other = tmp_path / "other" / "sorting"
    for name, text in files.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(text.replace("\n", "\r\n").encode())
    assert read_bundle(other).version == read_bundle(path).version


def test_the_commit_travels_with_the_bundle(files, folder):
    """The git commit is kept and is no part of the version."""
    bundle = read_bundle(folder(files), commit="abc")
    assert bundle.commit == "abc"
    assert bundle.version == read_bundle(folder(files)).version


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"output.shema.json": "{}"}, "sorting", "did you mean output.schema.json?"),
        ({"prompts/user.md": "x"}, "sorting", "prompts/<name>/system.md"),
        ({}, "Bad-Name", "lower-case"),
        ({"workflow.toml": None}, "sorting", "add it with task"),
    ],
)
def test_a_folder_that_is_no_workflow_is_refused(files, folder, changes, name, said):
    """A file that no workflow has, a name or a lack of settings is said with its mend."""
    kept = {path: text for path, text in (files | changes).items() if text is not None}
    with pytest.raises(WorkflowError, match=said):
        read_bundle(folder(kept, name))


def test_a_missing_folder_is_said(tmp_path):
    """The path that was looked for is named."""
    with pytest.raises(WorkflowError, match="there is no such folder"):
        read_bundle(tmp_path / "nowhere")


def test_a_file_that_is_not_utf8_is_said(files, folder):
    """Bytes that are no text are a problem of the file that holds them."""
    path = folder(files)
    (path / "prompts/small/user.md").write_bytes(b"\xff\xfe")
    with pytest.raises(WorkflowError, match=r"prompts/small/user\.md: it can't be read"):
        read_bundle(path)
