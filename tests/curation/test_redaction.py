"""No secret survives in a text, whatever names it or holds it, and texts without secrets do not change."""

from __future__ import annotations

import json
import logging
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import redaction
from curation.redaction import (
    REDACTED,
    is_secret_name,
    know_environment,
    know_secrets,
    redact,
    redact_logs,
    redact_values,
)

NAMES = [
    *(
        "spark.hadoop.fs.s3a.secret.key",
        "spark.hadoop.fs.s3a.access.key",
        "fs.s3a.session.token",
        "spark.ssl.keyPassword",
    ),
    *("spark.hadoop.fs.azure.account.key.store.blob.core.windows.net", "spark.executorEnv.AWS_SECRET_ACCESS_KEY"),
    *("spark.hadoop.javax.jdo.option.ConnectionPassword", "fs.gs.auth.service.account.private.key", "HF_TOKEN"),
    *("GITHUB_TOKEN", "spark.authenticate.secret", "api_key", "apiKey", "private_token", "passphrase", "DB_PASSWD"),
    *("db.pwd", "client-secret", "sig", "sas.token", "google.cloud.auth.credentials", "X-Amz-Signature", "Cookie"),
    *("X-Amz-Security-Token", "X-Amz-Credential", "AWSAccessKeyId", "X-Goog-Signature", "OSSAccessKeyId", "Signature"),
    *("Key-Pair-Id", "rlkey", "access_token", "token", "key", "hmac", "jwt"),
]
PLAIN = [
    *("lake", "batch", "recipe", "tokenizer", "tokens", "keys", "url_column", "monkeys", "spark.executor.memory"),
    *("spark.sql.shuffle.partitions", "balance.t_en", "metadata.version", "author", "signal", "X-Amz-Date"),
    *("X-Amz-Algorithm", "versionId", "download", "page", "passenger"),
]
SECRETS = st.text("abcXYZ0123456789+/~_-", min_size=3, max_size=60).map("9q".__add__)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(redaction, "_known", set())


@pytest.mark.parametrize("name", NAMES)
def test_names_of_secrets(name):
    assert is_secret_name(name)
    assert is_secret_name(name.upper())


@pytest.mark.parametrize("name", PLAIN)
def test_names_of_anything_else(name):
    assert not is_secret_name(name)


FORMS = [
    "{name}={secret}",
    "set {name} = {secret}, then",
    "x={name}={secret}",
    "--{name} {secret}",
    "--spark.conf={name}={secret}",
    "-D{name}={secret} -Dfoo=bar",
    '"{name}": "{secret}"',
    "{{'{name}': '{secret}'}}",
    "{name}='{secret} {secret}'",
    "https://h.example/a.parquet?a=1&{name}={secret}&b=2#7",
    "https://h.example/a.parquet?{name}={escaped}",
    "https://h.example/a?url=https%3A%2F%2Fh%2F%3F{name}%3D{escaped}%26c%3D1",
    "jdbc:postgresql://h/db?user=u;{name}={secret}",
    "https://h.example/#{name}={secret}",
    "FileStat(path='https://h.example/a?{name}={secret}', size=1)",
    '<a href="https://h.example/?a=1&amp;{name}={secret}">',
]


@given(st.sampled_from(NAMES), st.sampled_from(FORMS), SECRETS, st.text(max_size=20), st.text(max_size=20))
def test_a_value_under_the_name_of_a_secret_is_removed(name, form, secret, before, after):
    line = form.format(name=name, secret=secret, escaped=quote(secret, safe=""))
    redacted = redact(f"{before} {line} {after}")
    assert secret not in redacted
    assert quote(secret, safe="") not in redacted
    assert redact(redacted) == redacted


@given(st.sampled_from(["http", "https", "HTTPS", "ftp", "postgresql+psycopg2", "s3"]), SECRETS, st.booleans())
def test_users_and_passwords_are_removed_from_urls(scheme, secret, named):
    secret = quote(secret, safe="")
    user = f"user:{secret}" if named else secret
    assert redact(f"cannot reach {scheme}://{user}@host.example:9000/a/b: refused") == (
        f"cannot reach {scheme}://{REDACTED}@host.example:9000/a/b: refused"
    )


@pytest.mark.parametrize(
    "text",
    [
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_" + "a1B2" * 9,
        "hf_" + "a1B2" * 9,
        "xoxb-1234567890-abcdef",
        "AIza" + "a1B2c" * 7,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIE cut",
    ],
)
def test_keys_of_known_services_are_removed_without_a_name(text):
    assert redact(f"x {text}") == f"x {REDACTED}"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def",
        "authorization: Basic dXNlcjpwYXNz",
        "{'Authorization': 'Token 1234'}",
        "sent Bearer abcdefgh12345",
    ],
)
def test_authorization_headers_are_removed(text):
    redacted = redact(text)
    assert not any(part in redacted for part in ("abc", "dXNl", "1234"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "config: key `ingest.inputs` is missing: python -m jobs.ingest needs it: set it or as --ingest.inputs",
        "tokenizer: tok.json does not exist: train one",
        "counts do not add up: read 100, kept 60 + dropped {'too_long': 3}",
        "cannot read s3://lake/year=2024/key=abc/token=5/part-0.parquet: it is truncated",
        "/data/a@b/x.parquet https://host.example/a@b.png?w=5&h=6#frag mailto:someone@host.example",
        "abfss://container@account.dfs.core.windows.net/path",
        "no column 'key', only 'token', 'text'",
        "ingest: 5 of 10 tasks done",
    ],
)
def test_other_texts_do_not_change(text):
    assert redact(text) == text


@given(
    st.dictionaries(st.sampled_from(PLAIN), st.integers() | st.text("abc /.:", max_size=20) | st.none() | st.booleans())
)
def test_data_without_secrets_does_not_change(values):
    data = {"spark": {"conf": values}, "inputs": [values, *values.values()]}
    assert redact_values(data) == data


@given(st.sampled_from(NAMES), SECRETS)
def test_secrets_are_removed_from_data_at_any_depth(name, secret):
    data = {"spark": {"conf": {name: secret, "a": [{name: [secret, {"x": secret}]}], "b": f"{name}={secret}"}}, "n": 1}
    redacted = redact_values(data)
    assert secret not in json.dumps(redacted)
    assert redacted["n"] == 1
    assert redacted["spark"]["conf"].keys() == data["spark"]["conf"].keys()


def test_names_that_are_language_codes_hide_nothing_unless_names_decide():
    lists = {"key": "9f2c", "sas": {"digest": "77aa"}}
    assert redact_values(lists, by_name=False) == lists
    assert redact_values({"url": "https://u:p@h/"}, by_name=False) == {"url": f"https://{REDACTED}@h/"}


@given(st.text(min_size=8, max_size=30).filter(lambda text: text.strip() == text))
def test_a_known_secret_is_removed_from_any_text(secret):
    know_secrets({"spark": {"conf": {"a.secret.key": secret}}})
    assert secret not in redact(f"Illegal value '{secret}' near {quote(secret, safe='')}").replace(REDACTED, "")


def test_the_secrets_of_urls_and_of_the_environment_are_known(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_SECRET_KEY", "planted-in-env")
    monkeypatch.setenv("SOME_ENDPOINT", "https://me:planted-in-url@h.example/")
    monkeypatch.setenv("MY_TOKEN_FILE_KEY", str(tmp_path))
    know_environment()
    know_secrets(["https://h.example/?sig=planted%2Bquery"])
    line = f"planted-in-env planted-in-url planted+query {tmp_path}"
    assert redact(line) == f"{REDACTED} {REDACTED} {REDACTED} {tmp_path}"


def test_logs_are_redacted_with_their_tracebacks(capsys, monkeypatch):
    root, name = logging.getLogger(), "a_test_of_redaction"
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler()])
    for _ in range(2):
        redact_logs()
    try:
        raise ValueError("https://u:hidden1@h/")
    except ValueError:
        logging.getLogger(name).exception("at %s", "https://h/?sig=hidden2")
    monkeypatch.setattr(root, "handlers", [])
    logging.getLogger(name).error("password=hidden3")  # by the handler of last resort, as in Spark's workers
    written = capsys.readouterr().err
    assert written.count(REDACTED) == 4
    assert "hidden" not in written


@pytest.mark.parametrize(
    "part", ["key", "secret.a", "a=", "--token ", "?key=", "https://", "@", "%26k%3D", "x", "'key': ", "eyJ."]
)
def test_long_texts_take_no_time(part):
    began = time.process_time()
    redact(part * (100_000 // len(part)))
    assert time.process_time() - began < 2


@pytest.mark.parametrize("text", ["https://h/a?{}: there is no such file", "read {}. Then", "{}: no", "a {}: b", "{}"])
def test_the_sentence_after_a_secret_keeps_its_punctuation(text):
    assert redact(text.format("token=p4ss:w0rd.1")) == text.format(f"token={REDACTED}")
