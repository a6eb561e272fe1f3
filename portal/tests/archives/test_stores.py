"""Archives in a store that speaks S3, which may fail."""

import pyrage
import pytest
from django.core.management import call_command

from portal.archives.contents import unpack
from portal.archives.errors import ArchiveError
from portal.archives.making import make_archive, own_archives, own_prefix, working_alone
from portal.archives.passphrases import Passphrase
from portal.archives.targets import ArchiveStore, fetch_archive
from portal.egress import s3
from portal.models import JobRun
from portal.tests.helpers.stores import DROP, HTML, Answer

KEY = Passphrase("", pyrage.x25519.Identity.generate())


@pytest.fixture
def store(bucket):
    return ArchiveStore(bucket.address)


@pytest.fixture
def make(store, data, quick_snapshot, archive_database):
    def making_one(keep=None):
        with working_alone() as scratch:
            return make_archive(store, KEY, scratch, keep)

    return making_one


def url_of(address, name=""):
    return f"s3://{address.key}:{address.secret}@{address.host}/{address.bucket}/{address.prefix}{name}?tls=off"


def test_archives_are_kept_and_deleted_as_in_a_folder(make, store, bucket, data):
    bucket.overwrite("off/site/notes.txt", b"")
    made = [make(keep=2).name for _ in range(3)]
    assert own_archives(store) == made[:0:-1]
    assert "off/site/notes.txt" in bucket.keys
    assert not (data / "archiving").exists()


def test_archive_is_fetched_by_its_address_or_by_its_name_alone(make, bucket, settings):
    archive = make()
    settings.PORTAL_BACKUP_TARGET = url_of(bucket.address)
    for text in (url_of(bucket.address, f"/{archive.name}"), archive.name):
        with fetch_archive(text) as path:
            assert unpack(path, KEY) == archive.manifest
        assert not path.exists()


def test_interrupted_uploads_of_this_portal_are_aborted(make, store, bucket):
    for name in (f"{own_prefix()}20200101T000000Z.tar", "another"):
        bucket.client.create_multipart_upload(Bucket=bucket.address.bucket, Key=f"off/site/{name}")
    make()
    assert [upload.key for upload in store.store.uploads()] == ["another"]


@pytest.mark.parametrize("fault", [DROP, Answer(403, error="AccessDenied"), Answer(507), Answer(200, HTML)])
def test_store_that_fails_ends_the_backup_and_keeps_the_last_good_archive(make, store, bucket, fault):
    kept = make().name
    bucket.proxy.fault = lambda method, path: fault if method == "PUT" else None
    with pytest.raises(ArchiveError, match="store") as raised:
        make(keep=1)
    bucket.proxy.fault = lambda method, path: None
    assert "SECRET" not in str(raised.value)
    assert kept in own_archives(store)


def test_upload_that_the_store_altered_is_no_success(make, store, monkeypatch):
    monkeypatch.setattr(s3.Store, "head", lambda self, key: s3.StoredObject(key, 1))
    with pytest.raises(ArchiveError, match="altered"):
        make()
    assert own_archives(store) == []


def test_archive_counts_even_if_the_store_refuses_to_delete_older_ones(make, store, bucket):
    kept = make().name
    bucket.proxy.fault = lambda called, path: Answer(403, error="AccessDenied") if called == "DELETE" else None
    made = make(keep=1)
    assert own_archives(store) == [made.name, kept]
    assert "AccessDenied" in made.not_deleted


def test_archive_counts_even_if_the_store_refuses_to_list_interrupted_uploads(make, store, bucket):
    bucket.proxy.fault = lambda method, path: Answer(403, error="AccessDenied") if "uploads" in path else None
    made = make()
    assert (own_archives(store), "AccessDenied" in made.not_deleted) == ([made.name], True)


def test_command_whose_target_refuses_to_delete_succeeds_and_says_so(make, bucket, tmp_path, capsys):
    make()
    bucket.proxy.fault = lambda method, path: Answer(403, error="AccessDenied") if method == "DELETE" else None
    (tmp_path / "key").write_text(f"{KEY.identity}\n")
    call_command("backup_portal", url_of(bucket.address), passphrase_file=tmp_path / "key", keep=1)
    printed = capsys.readouterr()
    run = JobRun.objects.get(job="portal.backup")
    assert (run.status, run.result["archive"]) == ("done", printed.out.strip())
    assert "AccessDenied" in printed.err
    assert "AccessDenied" in run.result["not_deleted"]


def test_archive_in_a_folder_is_read_where_it_is(tmp_path, settings):
    settings.PORTAL_BACKUP_TARGET = str(tmp_path)
    with fetch_archive("vigie-x.tar") as path:
        assert path == tmp_path / "vigie-x.tar"


def test_missing_archive_is_refused(bucket, store):
    with pytest.raises(ArchiveError, match="not_found"), fetch_archive(url_of(bucket.address, "/vigie-x.tar")):
        pass
