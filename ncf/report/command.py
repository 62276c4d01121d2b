"""ncf-report: its arguments, and the pages or figures that they ask for."""

import argparse
import sys
from pathlib import Path

from ncf import __version__, plugins
from ncf.config.arguments import at_home
from ncf.config.parser import Parser


def folder_at_home(path: str) -> Path:
    return Path(at_home(path))


def arguments() -> argparse.Namespace:
    parser = Parser(
        "ncf-report",
        description="Write the page of a run (RUN/report.html), or the page that compares all runs given or found below a folder "
        "(comparison.html, .csv and .md), from whatever the runs have left so far.",
    )
    parser.add_argument("paths", nargs="+", type=folder_at_home, metavar="RUN", help="folder of a run, of a sweep, or of many of them")
    parser.add_argument("--output", type=folder_at_home, help="one run: the file to write; a comparison: the folder")
    parser.add_argument("--figure", metavar="KEY", help="draw a key against a metric, or the learning curves (curves), as SVG and PDF; no page")
    parser.add_argument("--metric", default="bce", help="metric of the figure; default: bce")
    parser.add_argument("--split", default="test", choices=("validation", "test"), help="split that the metric is of; default: test")
    parser.add_argument("--size", metavar="WxH", default="5.2x3.6", help="size of the figure in inches; default: 5.2x3.6")
    parser.add_argument("--title", help="title of the figure; default: the data set")
    parser.add_argument("--config-dir", type=Path, metavar="FOLDER", help="your own datasets and metrics: a folder with plugin.py")
    parser.add_argument("--version", action="version", version=f"ncf {__version__}")
    return parser.parse_args()


def write_pages(given: argparse.Namespace) -> None:
    from ncf.report import comparison_page, figures, run_page
    from ncf.runs import reader
    from ncf.runs.run import speak

    plugins.load(given.config_dir)
    if given.figure:
        comparison, root = comparison_page.compared(given.paths)
        look = figures.Look(figures.size(given.size), given.title)
        written = figures.write(comparison, given.figure, given.metric, given.split, given.output or root, look)
    elif len(given.paths) > 1 or reader.find(given.paths[0]) != given.paths:
        written, text = comparison_page.write(given.paths, given.output)
        speak(f"{text}\n")
    else:
        page, missing = run_page.write(given.paths[0], target=given.output)
        for line in missing:
            print(f"warning: {given.paths[0]}: {line}", file=sys.stderr)
        written = [page]
    speak("\n".join(f"written: {path}" for path in written))
