import subprocess

from project import version
from project.version import VERSION, checkout


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_this_checkout_has_a_version():
    assert checkout().startswith(VERSION) and "\n" not in checkout()


def test_the_version_names_the_commit_of_the_own_repository_and_changes(tmp_path, monkeypatch):
    copy = tmp_path / "others" / "dsmnet"
    copy.mkdir(parents=True)
    (copy / "CHANGES.md").write_text("# Changes\n")
    monkeypatch.setattr(version, "ROOT", copy)
    git(tmp_path / "others", "init")
    git(tmp_path / "others", "commit", "--allow-empty", "-m", "not ours")
    assert checkout() == VERSION
    git(copy, "init")
    git(copy, "add", ".")
    git(copy, "commit", "-m", "ours")
    assert checkout() == f"{VERSION} ({git(copy, 'rev-parse', '--short=12', 'HEAD')})"
    (copy / "CHANGES.md").write_text("changed")
    assert checkout().endswith("-dirty)")
