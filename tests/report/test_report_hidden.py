"""What is made to be sent round shows no secrets: values of env, tokens in arguments, passwords in URLs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpcdl.report import hidden
from hpcdl.report.hidden import HIDDEN
from tests.report import made

pytestmark = pytest.mark.cases("F26")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "TOKEN",
            "MY_TOKEN",
            "--token",
            "--hf-token",
            "WANDB_API_KEY",
            "wandbApiKey",
            "AWS_SECRET_ACCESS_KEY",
        ),
        *(
            "password",
            "DB_PASSWD",
            "ssh_private_key",
            "apikey",
            "client-secret",
            "secret_name",
            "GITHUB_PAT",
        ),
    ],
)
def test_secret_names_are_known(name):
    assert hidden.is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "OMP_NUM_THREADS",
        "--max-tokens",
        "tokenizer",
        "--key",
        "sort_key",
        "keys",
        "passes",
        "--compass",
        "author",
        "",
    ],
)
def test_harmless_names_are_shown(name):
    assert not hidden.is_secret(name)


def test_job_hides_values_of_secrets():
    job = {
        "name": "a",
        "args": ["--token=abc", "--lr", "0.1", "--api-key", "xyz", "--url", "https://me:pw@host/x"],
        "env": {"MY_TOKEN": "hunter2", "OMP_NUM_THREADS": "4"},
        "slurm": {"comment": "project x", "mail-user": "me@home.org", "constraint": "a100"},
        "data": {"path": "https://u:p@h/d.npz"},
        "model": {"function": "m:f", "args": {"width": 3, "hub": {"token": "t0k"}}},
    }

    assert hidden.job(job) == {
        "name": "a",
        "args": [
            f"--token={HIDDEN}",
            "--lr",
            "0.1",
            "--api-key",
            HIDDEN,
            "--url",
            f"https://me:{HIDDEN}@host/x",
        ],
        "env": {"MY_TOKEN": HIDDEN, "OMP_NUM_THREADS": HIDDEN},
        "slurm": {"comment": HIDDEN, "mail-user": HIDDEN, "constraint": "a100"},
        "data": {"path": f"https://u:{HIDDEN}@h/d.npz"},
        "model": {"function": "m:f", "args": {"width": 3, "hub": {"token": HIDDEN}}},
    }


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--set", "env.TOKEN=x", "--wait"], ["--set", f"env.TOKEN={HIDDEN}", "--wait"]),
        (["--set=env.OMP=4"], [f"--set=env.OMP={HIDDEN}"]),
        (["-s", "env={A: b}"], ["-s", f"env={HIDDEN}"]),
        (["-senv.A=b"], [f"-senv.A={HIDDEN}"]),
        (["--set", "slurm.comment=x y"], ["--set", f"slurm.comment={HIDDEN}"]),
        (["--set", "args=[--token, x]"], ["--set", f"args={HIDDEN}"]),
        (["--set", "args=[--lr, 1]"], ["--set", "args=[--lr, 1]"]),
        (["--set", "model.args.api_key=x"], ["--set", f"model.args.api_key={HIDDEN}"]),
        (["--password", "--wait"], ["--password", "--wait"]),
        (["git", "https://a:b@c/d.git"], ["git", f"https://a:{HIDDEN}@c/d.git"]),
        (["--url=postgres://a:b@c"], [f"--url=postgres://a:{HIDDEN}@c"]),
        (["https://me@host/x"], ["https://me@host/x"]),
        (["https://0123456789abcdef0123@host/x"], [f"https://{HIDDEN}@host/x"]),
        (["https://host/d.npz?sv=1&sig=a%2Fb&n=2"], [f"https://host/d.npz?sv=1&sig={HIDDEN}&n=2"]),
        (
            ["https://host/d.npz?X-Amz-Signature=ab12"],
            [f"https://host/d.npz?X-Amz-Signature={HIDDEN}"],
        ),
    ],
)
def test_command_line_hides_values(given, shown):
    assert hidden.words(given) == shown


def test_log_hides_the_jobs_secrets():
    job = {
        "env": {"MY_TOKEN": "hunter2", "MODE": "fast"},
        "args": ["--password", "opensesame", "--lr", "0.1"],
    }

    shown = hidden.text(
        "hunter2, MODE='fast' in fast mode\nopensesame 0.1 http://x:y@z hf_abcdefghijklmnopqrst",
        job,
    )

    assert (
        shown == f"{HIDDEN}, MODE={HIDDEN} in fast mode\n{HIDDEN} 0.1 http://x:{HIDDEN}@z {HIDDEN}"
    )


@pytest.mark.parametrize("word", ["a", "'a b'", "'it'\\''s'", '"a \\" b"', "'two\nlines'", r"a\ b"])
def test_value_is_hidden_however_quoted(word):
    assert (
        hidden.text(f"    A={word} \\\n  python", {"env": {"A": "x"}})
        == f"    A={HIDDEN} \\\n  python"
    )


def test_batch_script_hides_its_lines():
    script = '#SBATCH --comment="my project"\n#SBATCH --mail-user=me@x.org\n#SBATCH --time=1\nA=b \\\n  python t.py\n'

    shown = hidden.batch_script(script, {"env": {"A": "b"}})

    expected = f"#SBATCH --comment={HIDDEN}\n#SBATCH --mail-user={HIDDEN}\n#SBATCH --time=1\nA={HIDDEN} \\\n"
    assert shown == expected + "  python t.py\n"


SECRETS = ("hunter2", "t0psecret", "opensesame", "me@home.org", "grant 4711", "passw0rd")


@pytest.fixture
def secretive(tmp_path):
    """Two runs full of secrets, one of which has failed with one in its last words."""
    job: dict[str, Any] = {
        "args": ["--token=t0psecret", "--password", "opensesame", "--lr", "0.1"],
        "env": {"MY_TOKEN": "hunter2", "OMP_NUM_THREADS": "4"},
        "slurm": {"comment": "grant 4711", "mail-user": "me@home.org"},
    }
    folders = [made.script(tmp_path, "s", log="token hunter2\nhttps://me:passw0rd@host/\n", **job)]
    other = {
        **job,
        "env": {"MY_TOKEN": "hunter2 other", "OMP_NUM_THREADS": "8"},
        "args": ["--token=t0psecret2"],
    }
    folders.append(made.script(tmp_path, "t", **other))
    result = json.loads((folders[1] / "result.json").read_text())
    lines = [{"file": "logs/1.log", "line": 1, "text": "KeyError: hunter2 other"}]
    result.update(state="failed", cause="user_code", message="KeyError: hunter2 other", lines=lines)
    (folders[1] / "result.json").write_text(json.dumps(result))
    for folder in folders:
        (folder / "script.sbatch").write_text(
            "#SBATCH --comment='grant 4711'\nMY_TOKEN='hunter2' python t.py\n"
        )
        command = ["hpcdl", "submit", "s.yaml", "--set", "env.MY_TOKEN=hunter2"]
        (folder / "manifest.json").write_text(json.dumps({"command_line": command}))
    return folders


def test_pages_and_json_hold_no_secret(secretive, cli, tmp_path):
    page = tmp_path / "compare.html"
    texts = [
        cli("compare", *secretive).out,
        cli("compare", *secretive, "--json", "--html", page).out,
    ]
    for folder in secretive:
        assert cli("report", folder).code == 0
        texts.append((folder / "report.html").read_text())
    texts.append(page.read_text())

    for text in texts:
        for secret in SECRETS:
            assert secret not in text
        assert "MY_TOKEN" in text, "the names stay"
    assert json.loads(texts[1])["differences"]["env.OMP_NUM_THREADS"] == [HIDDEN, HIDDEN]


def test_values_are_shown_on_request(secretive, cli, tmp_path):
    page = tmp_path / "compare.html"
    told = cli("compare", *secretive, "--json", "--show-env", "--html", page).out
    cli("report", secretive[0], "--show-env")

    assert json.loads(told)["differences"]["env.MY_TOKEN"] == ["hunter2", "hunter2 other"]
    assert "hunter2" in page.read_text()
    for secret in SECRETS:
        assert secret in (secretive[0] / "report.html").read_text()


def test_result_as_json_holds_no_secret(secretive, cli):
    answer = cli("result", secretive[0], "--json")

    args = ["--token=(hidden)", "--password", HIDDEN, "--lr", "0.1"]
    assert json.loads(answer.out)["script"]["args"] == args


def test_run_folder_keeps_its_values(secretive, cli):
    cli("report", secretive[0])

    assert "hunter2" in (secretive[0] / "job.yaml").read_text()


def test_unreadable_job_file_is_not_shown(secretive, cli):
    """A job file that is not YAML could hide a secret, so the page leaves it out."""
    (secretive[0] / "job.yaml").write_text("env: {MY_TOKEN: hunter2\n  x")

    cli("report", secretive[0])

    assert "grant 4711" not in (secretive[0] / "report.html").read_text()
    assert (
        "cannot be read, so that nothing private in it could be hidden"
        in (secretive[0] / "report.html").read_text()
    )
