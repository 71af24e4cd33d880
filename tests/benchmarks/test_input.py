import pytest

from benchmarks.input import batches


class ReachedError(Exception):
    pass


def test_its_settings_are_accepted(tmp_path, monkeypatch):
    def reached(settings, splits):
        assert settings.cache == "disk" and settings.batch_size == 4
        raise ReachedError

    monkeypatch.setattr("runs.start.prepare_data", reached)
    with pytest.raises(ReachedError):
        batches(tmp_path, "Demo", "disk")
