"""Odd and hostile profiles: each is read as it was meant, or refused with the place and the key; never a traceback."""

from __future__ import annotations

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.errors import ClusterError, UserError

BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
REFUSED = {
    "empty": ("", "name", "missing"),
    "comment": ("# nothing\n", "name", "missing"),
    "text": ("apptainer\n", "", "expected a section with the keys name"),
    "list": ("- name: a\n", "", "expected a section with the keys name"),
    "bomb": (BOMB, "", "far too many values"),
    "deep": ("name: a\nx: " + "[" * 2000 + "]" * 2000, "", "far too deep"),
    "twice": ("name: a\nqos: b\nqos: c\n", "qos", "given twice, first at"),
    "tab": ("name: a\nnode:\n\tcpus: 3\n", "", "indented with spaces, never tabs"),
    "yes": ("name: a\nrequeue: yes\n", "requeue", "expected true or false; got 'yes'"),
    "on": ("name: a\nemulate_gpus: on\n", "emulate_gpus", "expected true or false; got 'on'"),
    "sexagesimal": ("name: a\nmax_time: 12:30\n", "max_time", "got '12:30'"),
    "more-than-sbatch-takes": ("name: a\nsignal_lead_s: 65536\n", "signal_lead_s", "65535"),
    "seconds-as-time": ("name: a\nsignal_lead_s: 1:30\n", "signal_lead_s", "got '1:30'"),
    "huge": ("name: a\nnode: {memory_gb: 1e999}\n", "node.memory_gb", "got inf"),
    "5000-digits": (
        f"name: a\nmax_requeues: {'9' * 5000}\n",
        "max_requeues",
        "a whole number >= 0",
    ),
    "merge": ("name: a\nnode:\n  <<: all\n", "node.<<", "<< merges sections"),
    "number-as-key": ("name: a\n1: b\n", "1", "unknown key"),
    "list-as-key": ("name: a\n? [b]\n: c\n", "", "a key must be plain text"),
    "tag": ("name: a\nruntime: !!python/name:os.system x\n", "runtime", "is not used here"),
    "nul": ('name: a\nbinds: ["/a\\0b"]\n', "binds[0]", "cannot hold a NUL"),
    "half-a-character": ('name: a\nscratch: "\\ud83d"\n', "", "invalid Unicode character"),
    "4-kB": (f"name: a\nqos: {'$(touch pwned)' * 300}\n", "qos", "expected one plain word"),
    "no-runtime": ("name: a\nruntime: ''\n", "runtime", "expected one plain word"),
    "dash": ("name: a\naccount: --export=ALL\n", "account", "expected one plain word"),
    "right-to-left": ('name: a\npartition: "a\\u202eb"\n', "partition", "expected one plain word"),
    "crlf-inside": (
        'name: a\nqos: "a\\r\\n#SBATCH --account=b"\n',
        "qos",
        "expected one plain word",
    ),
}


@pytest.mark.parametrize(("text", "key", "part"), REFUSED.values(), ids=REFUSED)
def test_refused_by_its_key(tmp_path, text, key, part):
    path = tmp_path / "site.yaml"
    path.write_text(text)

    with pytest.raises(ClusterError) as caught:
        load_cluster(path)

    assert len(str(caught.value)) < 10_000
    assert str(caught.value).replace("\n", "").isprintable()
    assert any(
        (key or problem.key) == problem.key and part in problem.message
        for problem in caught.value.problems
    )


READ = {
    "bom": "\ufeffname: a\nqos: b\n",
    "crlf": "name: a\r\nqos: b\r\n",
    "anchor": "name: &n a\nqos: b\ndescription: *n\n",
    "flow": '{"name": "a", "qos": "b"}',
    "no-newline": "name: a\nqos: b",
}


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_odd_profile_text_is_read(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_bytes(text.encode())

    cluster = load_cluster(path)

    assert (cluster.name, cluster.qos) == ("a", "b")


@pytest.mark.parametrize(
    "content", [b"name: \xe9t\xe9\n", "name: a".encode("utf-16")], ids=["latin-1", "utf-16"]
)
def test_profile_in_other_encoding_refused(tmp_path, content):
    path = tmp_path / "site.yaml"
    path.write_bytes(content)

    with pytest.raises(UserError, match="it is not UTF-8 text"):
        load_cluster(path)
