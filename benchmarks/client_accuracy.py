"""The load client's figures against the server's own, beside aiperf's: ``python -m benchmarks.client_accuracy``.

A server process paces tokens on absolute deadlines (first after 50 ms, then one each 10 ms) and logs its true times;
the product's open loop runs against it, then aiperf does, point by point. The server has core 0, the client core 1.
Prints errors, the clients' own evidence, and how many of 20 injected stalls were noticed.
"""

import argparse
import json
import subprocess
import sys
from urllib.request import urlopen

import uvloop

from benchmarks.accuracy import aiperf, ours
from benchmarks.accuracy.comparing import HEADER, row
from benchmarks.accuracy.server import pin
from benchmarks.occasion import heading

POINTS = ((20, 16), (100, 16), (300, 16), (600, 16), (1500, 16), (20, 200), (40, 200))
STALL_POINT = (100, 16)
STALL_RUN_S = 4.0
LEGEND = """Errors are |client - server| in ms at p50/p95/p99: TTFT from the client's send, TPOT of a request,
ITL of each gap. chunk: arrival less the server's write. own: the server's own error in pacing the first token; where
it is large, the machine was busy and the row says little. got/s: whole answers. IDC: variance/mean of arrivals a
second (Poisson: 1). CPU: of the client's core; the last 2 ms before each send are spent polling. void: the client's
verdict on itself.
"""


def measure(url: str, given: argparse.Namespace, witness: str) -> None:
    print(HEADER)
    for rate, tokens in given.points:
        told = uvloop.run(ours.run_at(url, rate, tokens, given.duration, None))
        print(row(told, truth(url), rate, tokens), flush=True)
        if witness:
            try:
                print(row(aiperf.run_at(aiperf.install(), url, rate, tokens, given.duration), truth(url), rate, tokens))
            except aiperf.Unavailable as error:
                print(f"| {tokens} | {rate:g} | aiperf: {error} |", flush=True)


def truth(url: str) -> dict[str, list[int]]:
    with urlopen(f"{url}/log", timeout=60) as answer:
        return json.load(answer)


def notice(url: str, count: int) -> str:
    """How many stalls of the client's event loop made its run void; the same runs without one are the control."""
    rate, tokens = STALL_POINT
    noticed = []
    for stall in ours.stalls(count, STALL_RUN_S):
        noticed.append(uvloop.run(ours.run_at(url, rate, tokens, STALL_RUN_S, stall)).void != "-")
    control = uvloop.run(ours.run_at(url, rate, tokens, STALL_RUN_S, None)).void
    return (
        f"stalls of {ours.SHORTEST_STALL_S:g} to {ours.LONGEST_STALL_S:g} s in runs of {STALL_RUN_S:g} s at "
        f"{rate} x {tokens}: {sum(noticed)} of {count} called void; without a stall: {control}"
    )


def chosen(text: str) -> tuple[int, int]:
    rate, _, tokens = text.partition("x")
    return int(rate), int(tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, default=12, help="measured seconds of each point")
    parser.add_argument("--points", nargs="+", type=chosen, default=POINTS, metavar="RATExTOKENS")
    parser.add_argument("--stalls", type=int, default=20, help="runs with an injected stall; 0: none")
    parser.add_argument("--no-aiperf", action="store_true", help="only the product's own client")
    given = parser.parse_args()
    print(heading("rightsizer-jobs", "uvloop"))
    witness = ""
    if not given.no_aiperf:
        try:
            witness = str(aiperf.install())
        except aiperf.Unavailable as error:
            print(f"without aiperf {aiperf.VERSION}, which cannot be installed here: {error}\n")
    pin(1)
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.accuracy.server"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        print(LEGEND)
        measure(url, given, witness)
        if given.stalls:
            truth(url)
            print("\n" + notice(url, given.stalls))
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    main()
