"""Words that a shell, sbatch, YAML or a terminal would each like to read their own way, for tests of every layer."""

from __future__ import annotations

# By their kind: what tests of one layer put together at random
TEXT = [
    "a",
    "Z9",
    "é",
    "e\u0301",
    "名",
    "🎉",
    " ",
    "  ",
    "\t",
    "-",
    "--",
    "~",
    "=",
    "%j",
    "%",
    "{user}",
    "12:30",
    "yes",
    "0x1f",
]
BREAKS = [
    "\n",
    "\r",
    "\r\n",
    "\v",
    "\f",
    "\x1b[31m",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\u202e",
    "\u2066",
]
MARKS = [*"'\"`\\$<*?!#,:@()&|;^", "$$", "!!", "[a]", "{a,b}", "${HOME}", "$HOME", "\\n", "\\"]
DEEDS = [
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned;",
    "&& touch pwned",
    "| touch pwned",
    "> pwned",
    "<(touch pwned)",
]
LINES = [
    "\n#SBATCH --account=evil\n",
    "\n)\ntouch pwned\nrun=(\n",
    "{{ plan }}",
    "{% raw %}",
    "'; touch pwned; '",
    '"; touch pwned; "',
]
LONG = ["x" * 4096, "$(touch pwned)" * 300, "'\"" * 2048]

# The worst of them as they are, for the few runs that are dear
WORST = [
    *BREAKS,
    *MARKS,
    *DEEDS,
    *LINES,
    *LONG,
    "",
    " ",
    "-",
    "--",
    "--help",
    "-c",
    "a=b,c=d",
    "e\u0301🎉名",
    "a\nb",
    "%x.%j",
    "~/x",
]

# Variables whose names are theirs who read them
ENVIRONMENT = {
    "BASH_ENV": "/nowhere",
    "IFS": "x",
    "PS4": "$(touch pwned)",
    "PYTHONPATH": "/a b:$(touch pwned)",
    "LC_ALL": "C.UTF-8",
}
