from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.fleet.backup import Backup, BackupInvalid
from hub.gateway.identity import HubIdentity

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def made() -> Backup:
    identity = HubIdentity.create(now=NOW)
    return Backup(NOW, identity.hub_id, (identity.to_secret(),))


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_a_backup_reads_back(passphrase: str) -> None:
    backup = made()
    again = Backup.load(backup.dump(passphrase), passphrase)
    assert again == backup
    assert again.identity.hub_id == backup.hub_id


def test_i5_an_encrypted_backup_shows_nothing_and_opens_with_its_passphrase_alone() -> None:
    backup = made()
    data = backup.dump("correct horse")
    assert backup.hub_id.encode() not in data
    assert data != backup.dump("correct horse"), "each has its own salt"
    for wrong in ("", "wrong"):
        with pytest.raises(BackupInvalid):
            Backup.load(data, wrong)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:40] + b"x" + data[41:], lambda _: b""]
)
@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_f24_a_damaged_backup_is_an_error_and_not_half_a_hub(damage: object, passphrase: str) -> None:
    with pytest.raises(BackupInvalid):
        Backup.load(damage(made().dump(passphrase)), passphrase)  # type: ignore[operator]


def test_a_file_that_is_no_backup_is_told() -> None:
    import gzip  # noqa: PLC0415

    with pytest.raises(BackupInvalid, match="another"):
        Backup.load(gzip.compress(b'{"format": "another"}'))
    with pytest.raises(BackupInvalid, match="identity"):
        _ = Backup(NOW, "h", ()).identity
