"""A stand-in for kubectl, run as a program: answers from the JSON files of a folder and writes down what it was asked.

``$FAKE_CLUSTER/<resource>.json`` is an object or a list of them; ``raw.json`` maps paths to answers; ``fail.json``
maps a word of the command line to [exit code, stderr]. Every call is appended to ``calls.jsonl`` with what came on
standard input.
"""

import json
import os
import pathlib
import sys

FOLDER = pathlib.Path(os.environ["FAKE_CLUSTER"])


def read(name):
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def end(code, text):
    (sys.stderr if code else sys.stdout).write(text)
    sys.exit(code)


def main(words):
    posted = sys.stdin.read() if "-" in words else ""
    with (FOLDER / "calls.jsonl").open("a") as log:
        log.write(json.dumps({"words": words, "posted": posted}) + "\n")
    for word, (code, text) in (read("fail") or {}).items():
        if word in " ".join(words):
            end(code, text)
    plain = [word for word in words if not word.startswith("--request-timeout")]
    if "--raw" in plain:
        answer = (read("raw") or {}).get(plain[plain.index("--raw") + 1])
        end(0, json.dumps(answer)) if answer is not None else end(1, "Error from server (NotFound): not found\n")
    verb, resource = plain[0], plain[1].split(".")[0]
    if verb == "config":
        end(0, json.dumps({"contexts": [{"context": {"namespace": "ml"}}]}))
    if verb == "patch":
        end(0, f"{resource}/{plain[2]}\n")
    found = read(resource)
    objects = found if isinstance(found, list) else [found] if found else []
    name = plain[2] if len(plain) > 2 and not plain[2].startswith("-") else None
    if name is None:
        selected = [w.split("metadata.name=")[1] for w in plain if w.startswith("--field-selector")]
        end(0, json.dumps({"items": [o for o in objects if not selected or o["metadata"]["name"] in selected]}))
    for one in objects:
        if one["metadata"]["name"] == name:
            end(0, json.dumps(one))
    end(1, f'Error from server (NotFound): {plain[1]} "{name}" not found\n')


main(sys.argv[1:])
