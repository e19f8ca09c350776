#!/bin/sh
# Compile the hash locks of the images and of the two heavy environments. Run from anywhere; UV names the uv to use.
set -eu
cd "$(dirname "$0")/.."
UV=${UV:-uv}
lock() { "$UV" pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-emit-index-url "$@"; }
linux="--python-platform x86_64-unknown-linux-gnu"
lock --universal requirements/image-build.in -o requirements/image-build.txt
lock --universal operator/pyproject.toml --extra controller --no-emit-package rightsizer-jobs -o requirements/operator.txt
lock --universal optimizer-jobs/pyproject.toml --extra trial -o requirements/trial.txt
lock $linux --override requirements/heavy-overrides.txt requirements/engine-cpu.in -o requirements/engine-cpu.txt
lock $linux --override requirements/heavy-overrides.txt requirements/compress.in -o requirements/compress.txt
