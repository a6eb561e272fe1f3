"""Stores that speak S3: what is put is there as a whole, and an answer that is none is an error with a word."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.base.env import Environment
from portal.egress import file_parts, s3, s3_client
from portal.egress.file_parts import SourceChanged, choose_part_size
from portal.egress.store_address import parse_store_url, read_store
from portal.tests.helpers.hostile_servers import Authority, Server, says
from portal.tests.helpers.stores import DROP, ENDLESS, HANG, HTML, Answer, measured

MIB = 1024 * 1024
SECRET = "Zm9v+YmFy"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(file_parts, "PART_SIZE", 5 * MIB)


def put(bucket, key, content, **options):
    with measured(content) as (source, parts):
        bucket.store.put(key, source, parts, **options)
        return verify(bucket, key, parts)


def verify(bucket, key, parts):
    return bucket.store.verify(key, parts)


def word_of(call, *arguments):
    with pytest.raises(s3.StoreError) as raised:
        call(*arguments)
    return raised.value.word


# --- Addresses -------------------------------------------------------------------------------------------------------


def test_address_is_decoded():
    address = parse_store_url("s3://AKIA%3A1:a%2Fb%40c@Minio.example:9000/vigie/off%20site/x/?region=eu-west-3&tls=off")
    assert (address.key, address.secret, address.host) == ("AKIA:1", "a/b@c", "minio.example:9000")
    assert (address.bucket, address.prefix, address.region, address.tls) == ("vigie", "off site/x", "eu-west-3", False)
    assert address.place == "minio.example:9000/vigie/off site/x"


def test_address_uses_tls_and_the_first_region_unless_told_otherwise():
    address = parse_store_url("s3://k:s@[::1]/bucket")
    assert (address.host, address.prefix, address.region, address.tls) == ("[::1]", "", "us-east-1", True)


@pytest.mark.parametrize(
    "url",
    [
        f"https://k:{SECRET}@host/bucket",
        f"s3://k:{SECRET}@host",
        f"s3://k:{SECRET}@host/b",
        f"s3://k:{SECRET}/@host/bucket",
        f"s3://k:{SECRET}@host:99999/bucket",
        f"s3://k:{SECRET}@host/bucket/../other",
        f"s3://k:{SECRET}@host/bucket/%2e%2e/other",
        f"s3://k:{SECRET}@host/bucket/a%00b",
        f"s3://k:{SECRET}@host/bucket?tls=no",
        f"s3://k:{SECRET}@host/bucket?acl=public",
        f"s3://k:{SECRET}@host/bucket?region=eu_west",
        f"s3://k:{SECRET}@host/bucket/{'p' * 500}",
        f"s3://{SECRET}@host/bucket",
    ],
)
def test_malformed_address_is_refused_without_showing_the_secret(url):
    with pytest.raises(ImproperlyConfigured) as raised:
        read_store(Environment({"OFFSITE_URL": url}), "OFFSITE_URL")
    assert "OFFSITE_URL" in str(raised.value)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_no_address_is_no_store():
    assert read_store(Environment({}), "OFFSITE_URL") is None


def test_secret_is_not_part_of_the_description():
    assert SECRET not in repr(parse_store_url(f"s3://k:{SECRET}@host/bucket"))


# --- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 100, 5 * MIB, 11 * MIB])
def test_file_is_read_back_as_it_was_put(bucket, size):
    content = os.urandom(size)
    found = put(bucket, "a/b.sql.gz", content)
    assert (found.size, found.key) == (size, "a/b.sql.gz")
    assert bucket.content("off/site/a/b.sql.gz") == content
    assert b"".join(bucket.store.read("a/b.sql.gz", size)) == content
    assert [(one.key, one.size) for one in bucket.store.list("a/")] == [("a/b.sql.gz", size)]


def test_part_size_grows_with_the_file():
    assert choose_part_size(50_000 * MIB) == 5 * MIB
    assert choose_part_size(50_001 * MIB) == 6 * MIB


def test_interrupted_upload_is_resumed_with_the_parts_that_are_missing(bucket):
    content, calls = os.urandom(16 * MIB), []

    def stop():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(bucket, "big", content, keep_alive=stop)
    assert (bucket.keys, len(list(bucket.store.uploads()))) == ([], 1)
    bucket.proxy.calls.clear()
    put(bucket, "big", content)
    assert bucket.proxy.count("PUT", "partNumber=") == 1
    assert (bucket.keys, list(bucket.store.uploads())) == (["off/site/big"], [])


def test_aborted_upload_leaves_no_part_for_another_file(bucket):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(bucket, "big", os.urandom(8 * MIB), keep_alive=stop)
    bucket.store.abort_uploads("big")
    content = os.urandom(8 * MIB)
    put(bucket, "big", content)
    assert bucket.content("off/site/big") == content


def test_changed_file_is_not_put(bucket, tmp_path):
    path = tmp_path / "dump"
    path.write_bytes(b"x" * 6 * MIB)
    with open(path, "r+b") as file:
        parts = file_parts.measure_parts(file.fileno(), s3.nothing)
        file.write(b"y")
        file.flush()
        with pytest.raises(SourceChanged):
            bucket.store.put("dump", file.fileno(), parts)
    assert bucket.keys == []


def test_altered_object_is_noticed(bucket):
    with measured(b"good") as (source, parts):
        bucket.store.put("dump", source, parts)
        bucket.overwrite("off/site/dump", b"evil")
        assert word_of(verify, bucket, "dump", parts) == s3.ALTERED
        bucket.overwrite("off/site/dump", b"longer")
        assert word_of(verify, bucket, "dump", parts) == s3.ALTERED
        bucket.delete("off/site/dump")
        assert word_of(verify, bucket, "dump", parts) == s3.NOT_FOUND


def test_deleted_object_is_gone_and_deleting_it_again_is_no_error(bucket):
    put(bucket, "dump", b"x")
    assert bucket.store.delete("dump")
    assert bucket.store.delete("dump")
    assert bucket.keys == []


def test_lock_keeps_a_version_from_being_deleted(locked_bucket):
    store = locked_bucket.store
    assert store.has_lock()
    until = datetime.now(UTC) + timedelta(days=3)
    found = put(locked_bucket, "dump", b"x", locked_until=until)
    assert found.locked_until is not None
    assert abs(found.locked_until - until) < timedelta(seconds=1)
    assert store.delete("dump", found.version) is False
    assert locked_bucket.versions == ["off/site/dump"]


def test_bucket_without_lock_says_so(bucket):
    assert bucket.store.has_lock() is False


# --- Stores that fail ------------------------------------------------------------------------------------------------

FAULTS = {
    "key refused": (Answer(403, error="InvalidAccessKeyId"), s3.REFUSED),
    "wrong clock": (Answer(403, error="RequestTimeTooSkewed"), s3.REFUSED),
    "full": (Answer(507, error="InsufficientStorage"), s3.FULL),
    "over quota": (Answer(403, error="QuotaExceeded"), s3.FULL),
    "no such bucket": (Answer(404, error="NoSuchBucket"), s3.NO_BUCKET),
    "no such key": (Answer(404, error="NoSuchKey"), s3.NOT_FOUND),
    "broken": (Answer(500), s3.UNREACHABLE),
    "html": (Answer(200, HTML), s3.GARBAGE),
    "truncated XML": (Answer(200, b"<?xml version='1.0'?><ListBucketResult><Name>"), s3.GARBAGE),
    "code that is a text": (Answer(418, error="a b"), s3.GARBAGE),
    "endless": (ENDLESS, s3.GARBAGE),
    "hangs up": (DROP, s3.UNREACHABLE),
    "silent": (HANG, s3.TIMEOUT),
}


@pytest.mark.parametrize(("fault", "word"), FAULTS.values(), ids=FAULTS)
def test_failing_store_is_an_error_with_a_word(bucket, fault, word, monkeypatch):
    monkeypatch.setattr(s3_client, "ANSWER_SECONDS", 0.2 if fault is HANG else 30)
    bucket.proxy.fault = lambda method, path: fault
    assert word_of(lambda: list(bucket.store.list())) == word


def test_closed_port_is_unreachable(bucket):
    address = parse_store_url("s3://k:s@127.0.0.1:1/bucket?tls=off")
    assert word_of(s3.Store(address).check) == s3.UNREACHABLE


@pytest.mark.parametrize("name", ["localhost", "other.example"])
def test_store_must_have_the_certificate_of_its_name(bucket, monkeypatch, tmp_path, name):
    authority = Authority(tmp_path)
    monkeypatch.setattr(s3_client, "shared_context", lambda: authority.trusting)
    bucket.proxy.socket = authority.server(name).wrap_socket(bucket.proxy.socket, server_side=True)
    secure = replace(bucket, address=replace(bucket.address, host=f"localhost:{bucket.proxy.server_port}", tls=True))
    content = os.urandom(6 * MIB)
    if name == "localhost":
        put(secure, "dump", content)
        assert b"".join(secure.store.read("dump", 6 * MIB)) == content
    else:
        assert word_of(secure.store.check) == s3.UNREACHABLE
        assert secure.proxy.calls == []


def test_redirect_is_not_followed(bucket):
    with Server(says(b"HTTP/1.1 200 OK\r\n\r\nelsewhere")) as other:
        for status in (301, 302, 307):
            bucket.proxy.fault = lambda method, path: Answer(status, location=f"{other.url}/")  # noqa: B023
            assert word_of(lambda: list(bucket.store.list())) == s3.GARBAGE
    assert other.requests == []


def test_endless_object_is_not_read_to_its_end(bucket):
    put(bucket, "dump", b"x" * 100)
    bucket.proxy.fault = lambda method, path: ENDLESS
    assert word_of(lambda: list(bucket.store.read("dump", 100))) == s3.GARBAGE


def test_store_that_swallows_what_is_put_is_noticed(bucket):
    bucket.proxy.fault = lambda method, path: Answer(200, HTML) if method == "PUT" else None
    with measured(b"x") as (source, parts):
        assert word_of(bucket.store.put, "dump", source, parts) == s3.GARBAGE
        bucket.proxy.fault = lambda method, path: Answer(200) if method == "PUT" else None
        bucket.store.put("dump", source, parts)
        assert word_of(verify, bucket, "dump", parts) == s3.NOT_FOUND


def test_passing_failure_is_retried(bucket, monkeypatch):
    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    answers = [Answer(503, error="SlowDown")]
    bucket.proxy.fault = lambda method, path: answers.pop() if answers else None
    assert list(bucket.store.list()) == []


def test_error_does_not_show_the_secret(bucket):
    bucket.proxy.fault = lambda method, path: Answer(403, error="SignatureDoesNotMatch")
    with pytest.raises(s3.StoreError) as raised:
        bucket.store.check()
    assert str(raised.value) == "refused (403)"
    assert raised.value.__suppress_context__


def test_environment_of_aws_is_ignored(bucket, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "none-such")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    bucket.store.check()
