"""The files of a run that a page shows as text, with private parts hidden."""

from __future__ import annotations

from hpcdl.report import hidden
from hpcdl.report.facts import Facts, read_text
from hpcdl.run.logs import numbered, tail

_LONGEST_LINE = 300  # characters of a log's line on a page


def files(facts: Facts) -> list[tuple[str, str]]:
    """The job file and what was sent with it, as they were frozen: (name, text)."""
    paths = facts.run.paths
    shown = [("job.yaml", _job(facts))]
    if paths.script.is_file():
        text = read_text(paths.script)
        if not facts.shows_env:
            text = hidden.batch_script(text, facts.job)
        shown.append((paths.script.name, text))
    script = facts.plan.get("script")
    users_own = [paths.user / script] if script else sorted(paths.user.glob("*.py"))
    for path in users_own:
        if path.is_file():
            name = path.relative_to(paths.user.parent)  # of a trial they are the sweep's
            shown.append((str(name), safe(facts, read_text(path))))
    return [entry for entry in shown if entry[1]]


def log_end(facts: Facts, most: int = 10) -> list[str]:
    """The last lines of the last attempt's log."""
    logs = numbered(facts.run.paths)
    if not logs:
        return []
    lines = tail(logs[-1]).splitlines()[-most:]
    return [safe(facts, line)[:_LONGEST_LINE] for line in lines]


def safe(facts: Facts, text: str) -> str:
    """A text without the job's secrets, unless they were asked for."""
    return text if facts.shows_env else hidden.text(text, facts.job)


def _job(facts: Facts) -> str:
    if not facts.job_text or (facts.shows_env and not facts.params):
        return facts.job_text
    if not facts.job:
        return "(not shown: it cannot be read, so that nothing private in it could be hidden)"
    import yaml

    shown = facts.job  # of a sweep's trial it has the trial's parameters, which the file lacks
    if not facts.shows_env:
        shown = hidden.job(shown)
    return str(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))
