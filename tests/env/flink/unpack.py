"""Puts a Flink distribution together from the packages in a directory: unpack.py DOWNLOADS DESTINATION."""

import pathlib
import re
import shutil
import sys
import tarfile
import zipfile

# Jars of `lib` and `plugins` that a session cluster with the demo job needs.
WANTED = re.compile(
    r"bin/|conf/|lib/(flink-dist|log4j|flink-json|flink-connector-files)|plugins/(metrics-prometheus/|README)"
)
# Where the packages have what a distribution has at its top.
TOP = re.compile(r"(?:.*/)?(?:pyflink|deps)/((?:bin|conf|lib|plugins)/.+)$")


def place(name, source, destination):
    """Writes one file of a package, when the distribution wants it."""
    found = TOP.match(name)
    if not found or not WANTED.match(found[1]):
        return
    path = destination / found[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        shutil.copyfileobj(source(), file)
    if found[1].startswith("bin/"):
        path.chmod(0o755)


def main(downloads, destination):
    for package in sorted(downloads.iterdir()):
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as archive:
                for name in archive.namelist():
                    if not name.endswith("/"):
                        place(name, lambda: archive.open(name), destination)
        else:
            with tarfile.open(package) as archive:
                for member in archive:
                    if member.isfile():
                        place(member.name, lambda: archive.extractfile(member), destination)


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
