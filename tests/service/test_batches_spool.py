from pathlib import Path
from uuid import uuid4

import pytest

from service.batches.spool import BatchSpool, SpoolError
from tests.service.batch_shop import Shop


def test_an_abandoned_upload_is_deleted_and_a_young_one_is_not(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = uuid4(), uuid4()
    for batch_id in (old, young):
        shop.spool.begin_upload(batch_id).close()
    import os

    folder = shop.spool.folder / str(old)
    for path in (folder / "upload.part", folder):
        os.utime(path, (0, 0))
    kept = shop.enter(1)
    shop.tidying.tidy_spool()
    assert set(shop.spool.list_batches()) == {young, kept.id}


def test_all_who_open_a_folder_have_the_same_id_and_others_cannot_look_in(tmp_path: Path) -> None:
    first, again = BatchSpool(tmp_path / "a"), BatchSpool(tmp_path / "a")
    assert first.id == again.id != BatchSpool(tmp_path / "b").id
    batch_id = uuid4()
    first.begin_upload(batch_id).close()
    for path in (tmp_path / "a", tmp_path / "a" / str(batch_id), first.partial_path(batch_id)):
        assert path.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="CREDENCE_STATE_PATH"):
        BatchSpool(tmp_path / "file" / "uploads")
    BatchSpool(tmp_path / "a")
    (tmp_path / "a" / "spool-id").write_text("nonsense")
    with pytest.raises(SpoolError, match="damaged"):
        BatchSpool(tmp_path / "a")
