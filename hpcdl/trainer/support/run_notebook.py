"""Runs a notebook as a program: ``python run_notebook.py NOTEBOOK [ARG]...``."""

if __name__ == "__main__":
    from hpcdl_support.runner import main  # type: ignore[import-not-found]

    main()
