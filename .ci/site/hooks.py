"""Gives mkdocs the pages of the whole repository, in the repository's own folders.

So a link from one page to another is the same on the site and in a git forge.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = ["*.md", "docs/*.md", "[!.]*/README.md", "tests/*/README.md"]
FILES = ["LICENSE"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by those of the repository that the site shows."""
    repository = Path(config.config_file_path).parent
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for pattern in [*PAGES, *FILES]:
        for path in sorted(repository.glob(pattern)):
            name = path.relative_to(repository).as_posix()
            files.append(File(name, str(repository), config.site_dir, config.use_directory_urls))
    return files
