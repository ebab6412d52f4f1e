"""MkDocs hook: the site has the documents of the whole project, at their paths in it, so that the same links hold in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCUMENTS = ("*.md", "docs/*.md", "docs/*.css", "docs/images/*", "examples/*", "benchmarks/*.md", "runs/README.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replaces the files of `docs_dir` by all documents; those of the theme stay."""
    root = Path(config.config_file_path).parent
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for path in sorted(path for pattern in DOCUMENTS for path in root.glob(pattern) if path.is_file()):
        files.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    return files
